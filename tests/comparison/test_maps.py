from __future__ import annotations

import numpy as np
import pytest

from quantus_vit.comparison.maps import MapStore


def test_maps_come_back_and_a_damaged_file_is_none(tmp_path) -> None:
    store = MapStore(tmp_path / "maps")
    assert store.load("a/x (1).png", 0, "M") is None
    relevance = np.random.default_rng(0).random((1, 4, 4), dtype=np.float32)
    store.save("a/x (1).png", 0, "M", relevance)
    np.testing.assert_array_equal(store.load("a/x (1).png", 0, "M"), relevance)
    (file,) = (tmp_path / "maps").rglob("*.npz")
    whole = file.read_bytes()
    for damage in (b"", b"no zip at all", whole[:50], whole[:-30], whole[:80] + b"\0" * 20 + whole[100:]):
        file.write_bytes(damage)
        assert store.load("a/x (1).png", 0, "M") is None
    store.save("a/x (1).png", 0, "M", relevance)
    np.testing.assert_array_equal(store.load("a/x (1).png", 0, "M"), relevance)


def test_maps_of_other_images_classes_and_methods_are_kept_apart(tmp_path) -> None:
    store = MapStore(tmp_path)
    labels = ("M", "N", "M[a=1]", "M[a=-1]", "M[a='b/c']", "M[a='" + "long" * 60 + "']", "M_a_1")
    keys = [("a/x.png", 0, "M"), ("b/x.png", 0, "M"), ("a/x.png", 1, "M"), ("r\u00f6/\udcff.png", 0, "M")]
    keys += [("a/x.png", 0, label) for label in labels[1:]]
    for number, key in enumerate(keys):
        store.save(*key, np.full((1, 1, 1), number))
    for number, key in enumerate(keys):
        assert store.load(*key)[0, 0, 0] == number
    store.clear()
    assert all(store.load(*key) is None for key in keys)


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch) -> None:
    def full(stream, **_):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    store = MapStore(tmp_path)
    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space left"):
        store.save("a.png", 0, "M", np.zeros((1, 1, 1)))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
