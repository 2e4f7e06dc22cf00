from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantus_vit.comparison.calls import Call
from quantus_vit.comparison.protocol import (
    Protocol,
    default_features_in_step,
    image_seed,
    load_config,
    parse_baseline,
    save_config,
)
from quantus_vit.comparison.protocols import PROTOCOLS, ProtocolSpec

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
        ({"baselines": (float("nan"),)}, "a baseline is a finite number"),
        ({"metrics": ("Sparseness", "Sparseness")}, "metrics holds a name twice"),
        ({"methods": ("LimeCXR[seed=1,num_samples=9]", "LimeCXR[num_samples=9,seed=1]")}, "methods holds a name twice"),
        ({"baselines": (0.0, -0.0)}, "baselines holds a name twice"),
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


def test_differences_name_both_values_but_not_where_files_lie() -> None:
    mine, theirs = protocol(samples=6, model="a", data="x"), protocol(samples=9, model="b", data="y")
    assert mine.differences(theirs) == ["samples: 6 here, 9 there"]
    assert protocol(model_digest="1" * 16).differences(mine) != []
    assert protocol(data_digest="1" * 16).differences(mine) != []
    assert protocol(protocol="quick", overrides=("samples",)).differences(mine) == []


@given(st.integers(1, 600))
def test_default_step_divides_the_pixels_and_leaves_fourteen_steps(size: int) -> None:
    step = default_features_in_step((size, size))
    assert size**2 % step == 0
    assert step == 1 or size**2 / step >= 14
    larger = [other for other in range(step + 1, size**2 // 14 + 1) if size**2 % other == 0]
    assert not larger


def test_default_step_at_224_pixels() -> None:
    assert default_features_in_step((224, 224)) == 3584


def test_baselines() -> None:
    assert [parse_baseline(text) for text in ("0.0", "-1.5", "black")] == [0.0, -1.5, "black"]
    for text in ("grey", "nan", "inf", "-inf", ""):
        with pytest.raises(ValueError, match=rf"a baseline is a finite number .* black, white, mean, got '{text}'"):
            parse_baseline(text)


def test_protocol_of_another_version_is_refused() -> None:
    values = protocol().to_dict() | {"colour": "red"}
    with pytest.raises(ValueError, match="colour"):
        Protocol.from_dict(values)


def test_the_seed_of_an_image_does_not_depend_on_where_the_data_lie() -> None:
    assert image_seed("Lung Segmentation Data/Test/Normal/images/1.png") == image_seed("Test/Normal/images/1.png")
    assert image_seed("a/Normal/images/1.png") != image_seed("a/Normal/images/2.png")


def test_protocols_are_complete_and_say_what_was_given_otherwise() -> None:
    assert {"quick", "paper", "custom"} <= set(PROTOCOLS.names())
    for spec in PROTOCOLS:
        settings = spec.with_overrides({"methods": ("Random",), "metrics": ("Sparseness",), "samples": 3})
        made = protocol(**settings)
        assert (made.protocol, made.protocol_version) == (spec.name, spec.version)
        assert made.samples == 3
        assert "samples" in made.overrides
        assert ("methods" in made.overrides) == (spec.name != "custom")
    unchanged = PROTOCOLS["quick"].with_overrides({"samples": 30, "lime_samples": None})
    assert unchanged["overrides"] == ()
    with pytest.raises(ValueError, match="'custom' fixes nothing by itself; give --metrics"):
        PROTOCOLS["custom"].with_overrides({"methods": ("Random",)})


def test_every_default_has_attn_lrp_and_limes_removal_is_the_metrics() -> None:
    quick = protocol(**PROTOCOLS["quick"].with_overrides({"baselines": ("black",)}))
    assert "AttnLRP" in quick.methods
    assert quick.explain_options().lime_replacement == "baseline"
    assert quick.explain_options().baseline == "black"


@pytest.mark.parametrize("setting", ["sampels", "model", "overrides"])
def test_a_protocol_cannot_fix_what_it_does_not_know(setting: str) -> None:
    with pytest.raises(ValueError, match=f"the protocol 'mine' sets '{setting}'; it can set abs, baselines"):
        ProtocolSpec("mine", "", 1, {setting: 3})


@pytest.mark.parametrize(
    ("text", "name", "options", "label"),
    [
        ("AttnLRP", "AttnLRP", {}, "AttnLRP"),
        (" LimeCXR [ replacement = 0.0 , segments=lime-default ] ", "LimeCXR",
         {"replacement": 0.0, "segments": "lime-default"}, "LimeCXR[replacement=0.0,segments=lime-default]"),
        ("M[a=(1, 2),b=None,c='x,y',d='3']", "M", {"a": (1, 2), "b": None, "c": "x,y", "d": "3"},
         "M[a=(1, 2),b=None,c='x,y',d='3']"),
        ("Control Var. Sobel Filter", "Control Var. Sobel Filter", {}, "Control Var. Sobel Filter"),
    ],
)  # fmt: skip
def test_calls_are_read_and_written(text: str, name: str, options: dict, label: str) -> None:
    call = Call.parse(text)
    assert (call.name, call.options, call.label) == (name, options, label)
    assert Call.parse(call.label) == call


@pytest.mark.parametrize("text", ["", "[a=1]", "M[a]", "M[a=1", "M[a=1,a=2]", "M[1=2]", "M[=2]", "M]", "M[a=1]x"])
def test_calls_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        Call.parse(text)
