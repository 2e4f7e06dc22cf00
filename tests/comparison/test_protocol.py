from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantus_vit.comparison.protocol import (
    Protocol,
    default_features_in_step,
    file_digest,
    load_config,
    parse_baseline,
    save_config,
)

from .toys import protocol


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "samples must be a whole number of at least 1, got 0"),
        ({"tie_breaks": True}, "tie_breaks must be"),
        ({"lime_samples": 2.5}, "lime_samples must be"),
        ({"sample_seed": -1}, "sample_seed must not be negative, got -1"),
        ({"target": "guess"}, "target must be one of label, predicted, got 'guess'"),
        ({"precision": "int8"}, "precision must be one of float32, bfloat16"),
        ({"methods": ()}, "methods is empty"),
        ({"metrics": ("Sparseness", "Sparseness")}, "metrics holds a name twice"),
        ({"features_in_step": 5}, "features_in_step must divide the image's 8x8 pixels, got 5; 4 does"),
    ],
)
def test_bad_settings_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        protocol(**change)


def test_config_comes_back_as_it_was(tmp_path) -> None:
    original = protocol(baselines=(0.0, "black"), softmax=True)
    save_config(tmp_path / "config.json", original, {"device": "cpu"})
    assert load_config(tmp_path / "config.json") == original
    assert json.loads((tmp_path / "config.json").read_text())["environment"] == {"device": "cpu"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"protocol": {"samples": 3}}', '{"protocol": 3}'])
def test_foreign_config_is_refused_with_its_name(tmp_path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json' does not hold the settings of a comparison"):
        load_config(tmp_path / "config.json")


def test_differences_name_both_values_but_not_the_place_of_the_checkpoint() -> None:
    mine, theirs = protocol(samples=6, checkpoint="a"), protocol(samples=9, checkpoint="b")
    assert mine.differences(theirs) == ["samples: 6 here, 9 there"]
    assert protocol(checkpoint_digest="1" * 64).differences(mine) != []


@given(st.integers(1, 600))
def test_default_step_divides_the_pixels_and_leaves_fourteen_steps(size: int) -> None:
    step = default_features_in_step(size)
    assert size**2 % step == 0
    assert step == 1 or size**2 / step >= 14
    larger = [other for other in range(step + 1, size**2 // 14 + 1) if size**2 % other == 0]
    assert not larger


def test_default_step_at_224_pixels() -> None:
    assert default_features_in_step(224) == 3584


def test_baselines() -> None:
    assert [parse_baseline(text) for text in ("0.0", "-1.5", "black")] == [0.0, -1.5, "black"]
    with pytest.raises(ValueError, match=r"a baseline is a number .* or one of black, white, mean, got 'grey'"):
        parse_baseline("grey")


def test_digest_of_a_file(tmp_path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert file_digest(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(FileNotFoundError, match="no checkpoint file"):
            file_digest(missing)


def test_protocol_of_another_version_is_refused() -> None:
    values = protocol().to_dict() | {"colour": "red"}
    with pytest.raises(ValueError, match="colour"):
        Protocol.from_dict(values)
