"""Image-text similarity and sums over regions as logits: the models' own numbers, and maps that follow from them."""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from attribution.families import randomise, vit
from torch import Tensor, nn

from quantus_vit import (
    AttentionRollout,
    AttnLRP,
    BeyondIntuition,
    GenericAttention,
    LeGrad,
    LibraGrad,
    PositionalLRP,
    RegionTarget,
    TextTargets,
    TokenOcclusion,
    TokenTM,
    TransformerLRP,
)

METHODS = [
    TransformerLRP,
    AttnLRP,
    GenericAttention,
    AttentionRollout,
    TokenOcclusion,
    LibraGrad,
    LeGrad,
    TokenTM,
    BeyondIntuition,
    PositionalLRP,
]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def clip() -> Any:
    transformers = pytest.importorskip("transformers")
    text = {**SIZES, "vocab_size": 20, "max_position_embeddings": 8, "bos_token_id": 18, "eos_token_id": 19}
    vision = {**SIZES, "image_size": 32, "patch_size": 8}
    return transformers.CLIPModel(
        transformers.CLIPConfig(text_config={**text, "pad_token_id": 0}, vision_config=vision, projection_dim=16)
    )


def siglip() -> Any:
    transformers = pytest.importorskip("transformers")
    text = {**SIZES, "vocab_size": 20, "max_position_embeddings": 8, "projection_size": 32}
    vision = {**SIZES, "image_size": 32, "patch_size": 8}
    return transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))


def open_clip() -> Any:
    package = pytest.importorskip("open_clip")
    return package.CLIP(
        16,
        {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32},
        {"context_length": 4, "vocab_size": 20, "width": 32, "heads": 2, "layers": 2},
    )


TOKENS = torch.tensor([[18, 3, 4, 19], [18, 5, 6, 19], [18, 7, 8, 19]])
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def built(build: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return randomise(build()).eval()


def text_features(model: Any) -> Tensor:
    with torch.no_grad():
        if hasattr(model, "encode_text"):
            return model.encode_text(TOKENS)
        found = model.get_text_features(input_ids=TOKENS)
    return getattr(found, "pooler_output", found)


@pytest.mark.parametrize("build", [clip, siglip])
def test_similarities_are_the_models_own(build: Any) -> None:
    model = built(build)
    wrapped = TextTargets(model, text_features(model), scale=model.logit_scale.exp().item())
    with torch.no_grad():
        wanted = model(input_ids=TOKENS, pixel_values=IMAGES).logits_per_image
        wanted = wanted - getattr(model, "logit_bias", 0.0)  # SigLIP's, the same for all texts
        torch.testing.assert_close(wrapped(IMAGES), wanted)


def test_other_image_encoders() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPVisionConfig(**SIZES, image_size=32, patch_size=8, projection_dim=16)
    projecting = transformers.CLIPVisionModelWithProjection(config).eval()
    plain = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 16))
    texts = torch.randn(4, 16)
    cosine = nn.CosineSimilarity(-1)
    with torch.no_grad():
        for encoder, features in ((projecting, projecting(IMAGES).image_embeds), (plain, plain(IMAGES))):
            found = TextTargets(encoder, 3 * texts, scale=2.0)(IMAGES)
            torch.testing.assert_close(found, 2 * cosine(features[:, None], texts[None]))


def test_open_clip() -> None:
    model = built(open_clip)
    texts = text_features(model)
    with torch.no_grad():
        wanted = model.get_logits(IMAGES, TOKENS)[0]
        scale = model.logit_scale.exp().item()
        torch.testing.assert_close(TextTargets(model, texts, scale)(IMAGES), wanted)
        torch.testing.assert_close(TextTargets(model.visual, texts, scale)(IMAGES), wanted)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("build", [clip, siglip, open_clip])
def test_every_method_explains_similarity(build: Any, method: Any) -> None:
    model = built(build)
    wrapped = TextTargets(model, text_features(model), scale=10.0).eval()
    if method is BeyondIntuition:
        method = partial(BeyondIntuition, steps=3, start_layer=0)
    maps = method(wrapped).attribute(IMAGES, [0, 2])
    assert maps.shape[-2:] == (32, 32)
    assert maps.isfinite().all()
    assert (maps.flatten(1).std(1) > 0).all()
    if method is not AttentionRollout:
        assert (maps - method(wrapped).attribute(IMAGES, [1, 1])).abs().max() > 1e-3 * maps.abs().max()


def test_relevance_of_a_similarity_follows_its_sign() -> None:
    """The text of opposite features has the opposite similarity, so relevance that is linear in it changes sign."""
    model = built(clip)
    features = text_features(model)[:1]
    maps = AttnLRP(TextTargets(model, torch.cat([features, -features]))).attribute_all_targets(IMAGES)
    torch.testing.assert_close(maps[:, 0], -maps[:, 1])


class Segmenter(nn.Module):
    """Patch tokens of a ViT -> a map of 3 channels, as wide as the image or as the grid."""

    def __init__(self, form: str = "tensor") -> None:
        super().__init__()
        self.vit, self.scores, self.form = vit()(), nn.Linear(32, 3), form

    def forward(self, x: Tensor) -> Any:
        tokens = self.vit.forward_features(x)[:, 1:]
        found = self.scores(tokens).transpose(1, 2).reshape(len(x), 3, 4, 4)
        if self.form == "wide":
            found = nn.functional.interpolate(found, scale_factor=8, mode="bilinear")
        return {"out": found, "aux": 0 * found} if self.form == "torchvision" else (found, 1)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return built(Segmenter)


def test_sums_over_regions(segmenter: Segmenter) -> None:
    region = torch.zeros(4, 4, dtype=torch.bool)
    region[1:3, 2:] = True
    with torch.no_grad():
        scores = segmenter(IMAGES)[0]
        found = RegionTarget(segmenter, region, (2, 0))(IMAGES)
        torch.testing.assert_close(found, scores[:, [2, 0], 1:3, 2:].sum((2, 3)))
        half_pixels = torch.zeros(32, 32)
        half_pixels[8:24, 20:] = 1  # of columns 2 and 3 of the grid, half of the former
        found = RegionTarget(segmenter, half_pixels, 1)(IMAGES)
        wanted = scores[:, 1, 1:3, 2].sum(1) / 2 + scores[:, 1, 1:3, 3].sum(1)
        torch.testing.assert_close(found[:, 0], wanted)
        both = torch.stack([region, region.flip(0)])
        each = RegionTarget(segmenter, region, 1)(IMAGES, both)[:, 0]
        torch.testing.assert_close(each, torch.stack([(s[1] * r).sum() for s, r in zip(scores, both, strict=True)]))


@pytest.mark.parametrize("form", ["wide", "torchvision"])
def test_other_outputs(form: str) -> None:
    model = built(lambda: Segmenter(form))
    region = torch.ones(4, 4)
    with torch.no_grad():
        output = model(IMAGES)
        wanted = (output["out"] if form == "torchvision" else output[0]).sum((2, 3))[:, 1:2]
        torch.testing.assert_close(RegionTarget(model, region, 1)(IMAGES), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_explains_a_region(segmenter: Segmenter, method: Any) -> None:
    left = torch.zeros(4, 4, dtype=torch.bool)
    left[:, :2] = True
    maps = [method(RegionTarget(segmenter, region, 1)).attribute(IMAGES, 0) for region in (left, ~left)]
    assert all(one.isfinite().all() and one.std() > 0 for one in maps)
    if method is not AttentionRollout:
        assert (maps[0] - maps[1]).abs().max() > 1e-3 * maps[0].abs().max()
    if method in (AttnLRP, TokenOcclusion):  # linear in the logit: regions side by side add up
        whole = method(RegionTarget(segmenter, torch.ones(4, 4), 1)).attribute(IMAGES, 0)
        torch.testing.assert_close(maps[0] + maps[1], whole, rtol=1e-3, atol=1e-4 * float(whole.abs().max()))


def test_a_region_for_each_image(segmenter: Segmenter) -> None:
    regions = torch.zeros(2, 4, 4)
    regions[0, :2], regions[1, 3] = 1, 1
    model = RegionTarget(segmenter, torch.ones(4, 4), 1)
    found = AttnLRP(model).attribute(IMAGES, 0, additional_forward_args=regions, internal_batch_size=1)
    for i in range(2):
        wanted = AttnLRP(RegionTarget(segmenter, regions[i], 1)).attribute(IMAGES[i : i + 1], 0)
        torch.testing.assert_close(found[i : i + 1], wanted)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: TextTargets(len, torch.ones(2, 3)), TypeError, "image_encoder must be"),
        (lambda: TextTargets(nn.Identity(), [1.0]), TypeError, "text_features must be"),
        (lambda: TextTargets(nn.Identity(), torch.ones(3)), ValueError, r"\(texts, D\)"),
        (lambda: TextTargets(nn.Identity(), torch.zeros(2, 3)), ValueError, "zeros"),
        (lambda: TextTargets(nn.Flatten(), torch.ones(2, 3))(IMAGES), ValueError, "same space"),
        (lambda: RegionTarget(nn.Identity(), torch.ones(4, 4), -1), ValueError, "channel must be"),
        (lambda: RegionTarget(nn.Identity(), torch.zeros(4, 4), 0), ValueError, "empty"),
        (lambda: RegionTarget(nn.Identity(), torch.ones(4), 0), ValueError, r"\(H, W\)"),
        (lambda: RegionTarget(nn.Identity(), [[1]], 0), TypeError, "region must be a tensor"),
        (lambda: RegionTarget(nn.Identity(), torch.ones(4, 4), 3)(IMAGES), ValueError, "channel 3 is not in"),
        (lambda: RegionTarget(nn.Flatten(), torch.ones(4, 4), 0)(IMAGES), ValueError, "must give a map"),
        (lambda: RegionTarget(nn.Identity(), torch.ones(3, 4, 4), 0)(IMAGES), ValueError, "does not fit"),
    ],
)
def test_errors_name_value_and_remedy(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_example_with_prompts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers")
    file = Path(__file__).parents[1] / "examples" / "explain_text.py"
    spec = importlib.util.spec_from_file_location("explain_text", file)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    sys.modules.pop("explain_text", None)
    spec.loader.exec_module(example)
    with torch.random.fork_rng(devices=[]):
        example.main(["--prompts", "a ribcage", "a heart", "--out", str(tmp_path / "maps.png")])
    assert (tmp_path / "maps.png").stat().st_size > 1000
    printed = capsys.readouterr().out
    assert "a ribcage" in printed
    assert "a heart" in printed
