"""The model families that the methods are tested on: tiny variants with seeded random weights, unmodified classes."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

CLASSES = 5


@dataclass(frozen=True)
class Family:
    """One kind of model: how to build it small, and what its input may be.

    ``rollout`` says what TransformerLRP, AttentionRollout and GenericAttention do with it: which tokens they read the
    map from ("class token", "mean of patches", "pooling query", ...), or the reason why they refuse.
    ``oblong`` is a non-square input size, for models that take one.
    """

    name: str
    label: str
    build: Callable[[], nn.Module]
    rollout: str = "class token"
    refuses: bool = False
    size: tuple[int, ...] = (32, 32)
    oblong: tuple[int, int] | None = None
    build_oblong: Callable[[], nn.Module] | None = None
    needs: tuple[str, ...] = ()


def make(family: Family, oblong: bool = False) -> nn.Module:
    """The family's model with random weights, in evaluation mode; the random state of the process stays as it was."""
    for package in family.needs:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    builder = family.build_oblong if oblong and family.build_oblong is not None else family.build
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        try:
            return randomise(builder()).eval()
        except RuntimeError as error:
            if "Unknown model" in str(error) and timm_is_older_than(1, 0, 20):
                pytest.skip(f"timm {importlib.metadata.version('timm')} does not have it: {error}")
            raise
        except ValueError as error:
            if "does not support an attention implementation" in str(error):
                pytest.skip(f"transformers {importlib.metadata.version('transformers')}: {error}")
            raise


def timm_is_older_than(*release: int) -> bool:
    """Whether the installed timm precedes the release in which the youngest of the families came."""
    installed = importlib.metadata.version("timm").split(".")
    return tuple(int(part) for part in installed[: len(release)]) < release


def randomise(model: nn.Module) -> nn.Module:
    """Random values for every parameter: initial weights are often zero or so small that no image changes anything."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            leaf = name.split(".")[-1]
            if parameter.dim() <= 1 and leaf in (
                "weight",
                "gamma",
                "gamma1",
                "gamma2",
                "gamma3",
                "gamma_1",
                "gamma_2",
                "lambda1",
            ):
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
            elif "logit_scale" in name:
                parameter.copy_(torch.full_like(parameter, math.log(4.0)))
            elif parameter.dim() >= 2 and leaf == "weight":
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn_like(parameter) * 1.5 / math.sqrt(fan_in))
            else:
                parameter.copy_(0.3 * torch.randn_like(parameter))
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_var is not None:
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return model


def images(family: Family, count: int = 2, oblong: bool = False) -> torch.Tensor:
    """(N, 3, H, W) float32; (N, 3, D, H, W) for models of volumes."""
    size = family.oblong if oblong else family.size
    assert size is not None
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(2))


def timm_model(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import timm

        return timm.create_model(name, pretrained=False, num_classes=CLASSES, **options)

    return build


VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}


def vit(name: str = "vit_tiny_patch16_224", **options: Any) -> Callable[[], nn.Module]:
    return timm_model(name, **{**VIT, **options})


def vit_family(name: str, label: str, model: str, rollout: str = "class token", **options: Any) -> Family:
    return Family(
        name,
        label,
        vit(model, **options),
        rollout,
        oblong=(32, 48),
        build_oblong=vit(model, **{**options, "img_size": (32, 48)}),
    )


def torchvision_vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=CLASSES)


def torchvision_swin(version: int) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from torchvision.models import swin_transformer as swin

        extra = {"block": swin.SwinTransformerBlockV2, "downsample_layer": swin.PatchMergingV2} if version == 2 else {}
        return swin.SwinTransformer(
            patch_size=[4, 4],
            embed_dim=16,
            depths=[2, 2],
            num_heads=[2, 2],
            window_size=[4, 4],
            num_classes=CLASSES,
            **extra,
        )

    return build


HF = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}


def hugging_face(kind: str, attention: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import transformers

        config_class = getattr(transformers, f"{kind}Config")
        if kind in ("CLIP", "Siglip"):
            config = config_class(vision_config={**HF, "projection_dim": 16}, num_labels=CLASSES)
        else:
            config = config_class(**{**({} if "image_size" in options else HF), "num_labels": CLASSES, **options})
        config._attn_implementation = attention
        return getattr(transformers, f"{kind}ForImageClassification")(config)

    return build


def hf_family(kind: str, attention: str, rollout: str = "class token", **options: Any) -> Family:
    options_without = {k: v for k, v in options.items() if k != "refuses"}
    return Family(
        f"hf_{kind.lower()}_{attention}",
        f"Hugging Face {kind}ForImageClassification, {attention} attention",
        hugging_face(kind, attention, **options_without),
        rollout,
        refuses=options.get("refuses", False),
        needs=("transformers",),
    )


def normalised() -> nn.Module:
    class Normalise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1))
            self.register_buffer("std", torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x - self.mean) / self.std

    return nn.Sequential(Normalise(), vit()())


def torchvision_normalised() -> nn.Module:
    from torchvision.transforms import Normalize

    return nn.Sequential(Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]), vit()())


def lora() -> nn.Module:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(vit()(), LoraConfig(r=2, target_modules=["qkv", "proj", "fc1"]))


def with_pooling(pool: str, **options: Any) -> dict[str, Any]:
    return {"global_pool": pool, **options}


MEAN = "pooled tokens (mean)"
QUERY = "pooling query"
SWIN = "attention in windows has no global token grid"

FAMILIES: list[Family] = [
    vit_family("vit", "timm `vit_*`", "vit_tiny_patch16_224"),
    vit_family("vit_gap", "timm ViT, average pooling, no class token", "vit_medium_patch16_gap_240", MEAN),
    vit_family(
        "vit_avg_class_token",
        "timm ViT, average pooling beside a class token",
        "vit_tiny_patch16_224",
        MEAN,
        global_pool="avg",
    ),
    vit_family(
        "vit_avgmax", "timm ViT, average and maximum pooling", "vit_tiny_patch16_224", MEAN, global_pool="avgmax"
    ),
    vit_family(
        "vit_map", "timm ViT, attention pooling", "vit_tiny_patch16_224", QUERY, global_pool="map", class_token=False
    ),
    vit_family("vit_reg", "timm ViT with registers, average pooling", "vit_little_patch16_reg4_gap_256", MEAN),
    vit_family("vit_qk_norm", "timm ViT with query and key normalisation", "vit_tiny_patch16_224", qk_norm=True),
    vit_family("vit_no_qkv_bias", "timm ViT without qkv bias", "vit_tiny_patch16_224", qkv_bias=False),
]


def _parallel(block: str) -> Callable[..., Callable[[], nn.Module]]:
    def build_with(**options: Any) -> Callable[[], nn.Module]:
        def build() -> nn.Module:
            from timm.models import vision_transformer as vt

            return vt.VisionTransformer(
                **{**VIT, **options}, num_classes=CLASSES, block_fn=getattr(vt, block), init_values=1.0
            )

        return build

    return build_with


for _block, _label in (
    ("ParallelScalingBlock", "timm ViT, parallel scaling blocks (ViT-22B)"),
    ("ParallelThingsBlock", "timm ViT, parallel branches in a block"),
    ("ResPostBlock", "timm ViT, normalisation after each branch"),
):
    _build = _parallel(_block)
    FAMILIES.append(Family(f"vit_{_block}", _label, _build(), oblong=(32, 48), build_oblong=_build(img_size=(32, 48))))

FAMILIES += [
    vit_family("deit", "timm `deit_*`", "deit_tiny_patch16_224"),
    vit_family(
        "deit_distilled",
        "timm `deit_*_distilled`",
        "deit_tiny_distilled_patch16_224",
        "class and distillation tokens (mean)",
    ),
    vit_family("deit3", "timm `deit3_*`", "deit3_small_patch16_224"),
    vit_family("beit", "timm `beit_*`", "beit_base_patch16_224", MEAN),
    vit_family("beitv2", "timm `beitv2_*`", "beitv2_base_patch16_224", MEAN),
    vit_family("beit3", "timm `beit3_*`", "beit3_base_patch16_224", MEAN),
    vit_family("eva", "timm `eva_*`", "eva_large_patch14_196", MEAN),
    vit_family("eva02", "timm `eva02_*` (rotary, SwiGLU)", "eva02_tiny_patch14_224", MEAN),
    vit_family("eva02_base", "timm `eva02_base_*` (rotary, SwiGLU, inner norm)", "eva02_base_patch14_448", MEAN),
    vit_family("eva02_clip", "timm `eva02_*_clip`", "eva02_base_patch16_clip_224"),
    vit_family("vit_rope", "timm `vit_*_rope`", "vit_small_patch16_rope_224"),
    vit_family("vit_rope_mixed", "timm `vit_*_rope_mixed`", "vit_small_patch16_rope_mixed_224"),
    vit_family("vit_relpos", "timm `vit_relpos_*`", "vit_relpos_small_patch16_224", MEAN),
    vit_family("vit_pe", "timm `vit_pe_core_*`", "vit_pe_core_tiny_patch16_384", QUERY),
    vit_family("dinov2", "timm `*_dinov2`", "vit_small_patch14_dinov2"),
    vit_family("dinov2_reg", "timm `*_reg4_dinov2`", "vit_small_patch14_reg4_dinov2"),
    vit_family("dinov3", "timm `*_dinov3`", "vit_small_patch16_dinov3", MEAN),
    vit_family("dinov3_plus", "timm `*_plus_*_dinov3` (SwiGLU)", "vit_small_plus_patch16_dinov3", MEAN),
    vit_family("clip", "timm `vit_*_clip_*`", "vit_base_patch32_clip_224"),
    vit_family("clip_quickgelu", "timm `vit_*_clip_quickgelu_*`", "vit_base_patch32_clip_quickgelu_224"),
    vit_family("siglip", "timm `vit_*_siglip_*` (attention pooling)", "vit_base_patch16_siglip_224", QUERY),
    vit_family("siglip_gap", "timm `vit_*_siglip_gap_*`", "vit_base_patch16_siglip_gap_224", MEAN),
    vit_family("siglip2", "timm `*.v2_webli` (SigLIP 2)", "vit_so400m_patch16_siglip_256", QUERY),
    vit_family("mae", "timm `vit_*.mae`", "vit_base_patch16_224.mae"),
    vit_family("flexivit", "timm `flexivit_*`", "flexivit_small"),
    Family(
        "hybrid",
        "timm `vit_*_r26_*` (convolutional stem)",
        timm_model("vit_small_r26_s32_224", img_size=64, embed_dim=32, depth=2, num_heads=2),
        size=(64, 64),
    ),
    Family(
        "cait",
        "timm `cait_*`",
        vit("cait_xxs24_224"),
        "talking heads mix maps after the softmax; class attention",
        refuses=True,
    ),
    Family(
        "xcit",
        "timm `xcit_*`",
        timm_model("xcit_nano_12_p8_224", img_size=32, embed_dim=32, depth=2, num_heads=2),
        "cross-covariance attention mixes channels, not tokens",
        refuses=True,
        oblong=(32, 48),
    ),
    Family(
        "swin",
        "timm `swin_*`",
        timm_model(
            "swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=16, depths=(2, 2), num_heads=(2, 2)
        ),
        SWIN,
        refuses=True,
    ),
    Family(
        "swinv2",
        "timm `swinv2_*`",
        timm_model(
            "swinv2_tiny_window8_256", img_size=32, window_size=4, embed_dim=16, depths=(2, 2), num_heads=(2, 2)
        ),
        SWIN,
        refuses=True,
    ),
    Family("torchvision_vit", "torchvision `vit_*`", torchvision_vit),
    Family("torchvision_swin", "torchvision `swin_*`", torchvision_swin(1), SWIN, refuses=True, oblong=(32, 48)),
    Family("torchvision_swin_v2", "torchvision `swin_v2_*`", torchvision_swin(2), SWIN, refuses=True, oblong=(32, 48)),
]
for _attention in ("eager", "sdpa"):
    FAMILIES += [
        hf_family("ViT", _attention),
        hf_family("DeiT", _attention),
        hf_family("Dinov2", _attention, "class token and patches (mean)"),
        hf_family("CLIP", _attention, MEAN),
        Family(
            f"hf_swin_{_attention}",
            f"Hugging Face SwinForImageClassification, {_attention} attention",
            hugging_face(
                "Swin",
                _attention,
                image_size=32,
                embed_dim=16,
                depths=[2, 2],
                num_heads=[2, 2],
                window_size=4,
                patch_size=4,
            ),
            SWIN,
            refuses=True,
            needs=("transformers",),
        ),
    ]
FAMILIES += [
    hf_family("Siglip", "eager", "patches (mean), without the pooling head"),
    hf_family("Beit", "eager", MEAN),
    hf_family("Data2VecVision", "eager", MEAN),
    hf_family("ViTMSN", "eager"),
    hf_family("IJepa", "eager", MEAN),
    hf_family("Dinov2WithRegisters", "eager", "class token and patches (mean)"),
    Family(
        "pvt_v2",
        "timm `pvt_v2_*`",
        timm_model("pvt_v2_b0", depths=(1, 1, 1, 1), embed_dims=(8, 16, 16, 16), num_heads=(1, 1, 2, 2)),
        "keys are pooled, and grids change from stage to stage",
        refuses=True,
        size=(64, 64),
    ),
    Family(
        "hf_segformer",
        "Hugging Face SegformerForImageClassification",
        hugging_face(
            "Segformer",
            "eager",
            image_size=64,
            depths=[1] * 4,
            hidden_sizes=[8, 16, 16, 16],
            num_attention_heads=[1, 1, 2, 2],
        ),
        "keys are pooled, and grids change from stage to stage",
        refuses=True,
        size=(64, 64),
        needs=("transformers",),
    ),
    Family("sequential", "`nn.Sequential(normalisation, ViT)`", normalised),
    Family("sequential_torchvision", "`nn.Sequential(torchvision Normalize, ViT)`", torchvision_normalised),
    Family("data_parallel", "`nn.DataParallel(ViT)`", lambda: nn.DataParallel(vit()())),
    Family("compiled", "`torch.compile(ViT)`", lambda: torch.compile(vit()(), backend="eager")),  # type: ignore[arg-type, return-value]
    Family("lora", "PEFT LoRA on a ViT", lora, needs=("peft",)),
]
BY_NAME = {family.name: family for family in FAMILIES}
