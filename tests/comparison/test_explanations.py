from __future__ import annotations

import numpy as np
import pytest
import torch

from quantus_vit import register_method, unregister_method
from quantus_vit.comparison.explanations import RANDOM, MapStore, check_methods, explain_image, known_methods

from .toys import SIZE, Images, LinearModel, contribution, protocol


def explained(model: LinearModel, method: str, path: str = "x.png", **changes) -> np.ndarray:
    return explain_image(model, Images([0])[0]["image"], 1, method, protocol(**changes), path, "cpu")


def test_a_map_comes_through_quantus(model: LinearModel, contribution_method: str) -> None:
    relevance = explained(model, contribution_method)
    assert relevance.shape == (1, SIZE, SIZE)
    assert relevance.dtype == np.float32
    np.testing.assert_allclose(relevance, contribution(model, Images([0])[0]["image"][None], [1])[0], rtol=1e-6)


def test_random_depends_on_the_image_and_the_seed_alone(model: LinearModel) -> None:
    first = explained(model, RANDOM)
    np.testing.assert_array_equal(explained(model, RANDOM), first)
    assert (explained(model, RANDOM, path="y.png") != first).any()
    moved = [explained(model, RANDOM, path=f"/{place}/Test/Normal/images/1.png") for place in ("home/a", "data")]
    np.testing.assert_array_equal(*moved)
    assert (explained(model, RANDOM, sample_seed=1) != first).any()


def test_a_method_that_returns_another_shape_is_named(model: LinearModel) -> None:
    register_method("Small", lambda model, inputs, targets: torch.zeros(len(inputs), 1, 2, 2))
    try:
        with pytest.raises(ValueError, match=r"method 'Small' returned shape \(1, 1, 2, 2\), expected \(1, 1, 8, 8\)"):
            explained(model, "Small")
    finally:
        unregister_method("Small")


def test_known_methods() -> None:
    known = known_methods()
    assert {"TransformerLRP", "LimeCXR", RANDOM} <= set(known)
    assert len(set(known)) == len(known)
    check_methods(tuple(known))
    with pytest.raises(ValueError, match="unknown method 'TransformerLPR'; known are TransformerLRP, "):
        check_methods(("TransformerLRP", "TransformerLPR"))


def test_maps_are_computed_once_and_a_damaged_file_again(tmp_path) -> None:
    calls = []

    def compute() -> np.ndarray:
        calls.append(1)
        return np.full((1, 2, 2), float(len(calls)), dtype=np.float32)

    store = MapStore(tmp_path / "maps")
    for _ in range(2):
        assert store.get_or_compute("a/x (1).png", 0, "M", compute)[0, 0, 0] == 1
    (file,) = (tmp_path / "maps").rglob("*.npz")
    for damage in (b"", b"no zip at all", file.read_bytes()[:50]):
        file.write_bytes(damage)
        expected = len(calls) + 1
        assert store.get_or_compute("a/x (1).png", 0, "M", compute)[0, 0, 0] == expected


def test_maps_of_other_images_classes_and_methods_are_kept_apart(tmp_path) -> None:
    store = MapStore(tmp_path)
    keys = [("a/x.png", 0, "M"), ("b/x.png", 0, "M"), ("a/x.png", 1, "M"), ("a/x.png", 0, "N")]
    for number, key in enumerate(keys):
        store.get_or_compute(*key, lambda number=number: np.full((1, 1, 1), number))
    for number, key in enumerate(keys):
        assert store.get_or_compute(*key, lambda: np.full((1, 1, 1), -1))[0, 0, 0] == number
