"""Hybrids, pyramids and models with attention of their own kind: tiny variants with seeded random weights."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor, nn

from .families import CLASSES, MEAN, Family, hugging_face, timm_is_older_than, timm_model

__all__ = ["WIDER", "WIDER_BY_NAME", "Video"]


def of(name: str, label: str, model: str, size: int = 64, **options: Any) -> Family:
    return Family(name, label, timm_model(model, **options), size=(size, size))


def timm_class(module: str, name: str, **options: Any) -> Callable[[], nn.Module]:
    """For models whose smallest entry of the registry fixes its sizes."""

    def build() -> nn.Module:
        found = getattr(importlib.import_module(f"timm.models.{module}"), name)
        return found(num_classes=CLASSES, **options)  # type: ignore[no-any-return]

    return build


def poolformerv2() -> nn.Module:
    from timm.models.metaformer import GroupNorm1NoBias, MetaFormer

    return MetaFormer(depths=ONES, dims=FOUR, norm_layers=GroupNorm1NoBias, use_mlp_head=False, num_classes=CLASSES)


def naflexvit() -> nn.Module:
    from timm.models.naflexvit import NaFlexVit, NaFlexVitCfg

    config = NaFlexVitCfg(8, 32, 2, 2, reg_tokens=2, fc_norm=True, global_pool="avg", pos_embed_grid_size=(4, 4))
    return NaFlexVit(config, num_classes=CLASSES, img_size=32)


def mvitv2() -> nn.Module:
    from timm.models.mvitv2 import MultiScaleVit, MultiScaleVitCfg

    return MultiScaleVit(MultiScaleVitCfg((1, 1, 1, 1), 16), img_size=(64, 64), num_classes=CLASSES)


def maxvit() -> nn.Module:
    from timm.models.maxxvit import MaxxVit, MaxxVitCfg, MaxxVitTransformerCfg

    config = MaxxVitCfg((8, 16), (1, 1), ("M", "M"), stem_width=8, transformer_cfg=MaxxVitTransformerCfg(dim_head=8))
    return MaxxVit(config, img_size=64, num_classes=CLASSES)


def csatv2() -> nn.Module:
    from timm.models.csatv2 import CSATv2

    return CSATv2(num_classes=CLASSES, dims=(8, 8, 16, 32), depths=(1, 1, 2, 2), transformer_depths=(0, 0, 1, 1))


def hf(kind: str, size: int = 64, **options: Any) -> Family:
    return Family(
        f"hf_{kind.lower()}",
        f"Hugging Face {kind}ForImageClassification",
        hugging_face(kind, "eager", **options),
        size=(size, size),
        needs=("transformers",),
    )


class Video(nn.Module):
    """A model of (N, frames, C, H, W) for videos (N, C, frames, H, W)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        return self.model(x.transpose(1, 2))


def video(kind: str, **options: Any) -> Family:
    """A Hugging Face classifier of four frames."""

    def build() -> nn.Module:
        transformers = importlib.import_module("transformers")
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        config = getattr(transformers, f"{kind}Config")(
            **sizes,
            hidden_act="gelu",  # written out it adds a constant, which absorbs relevance
            image_size=16,
            num_frames=4,
            num_labels=CLASSES,
            attn_implementation="eager",
            **options,
        )
        return Video(getattr(transformers, f"{kind}ForVideoClassification")(config))

    label = f"Hugging Face {kind}ForVideoClassification, axes turned"
    return Family(f"hf_{kind.lower()}", label, build, size=(4, 16, 16), needs=("transformers",))


class MeanOfMap(nn.Module):
    """The mean over the image of each channel of a segmentation."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.model(x)
        return maps.flatten(2).mean(2)


def swin_unetr(name: str, *size: int) -> Family:
    def build() -> nn.Module:
        nets = importlib.import_module("monai.networks.nets")
        return MeanOfMap(nets.SwinUNETR(in_channels=3, out_channels=CLASSES, feature_size=12, spatial_dims=len(size)))

    label = f"MONAI SwinUNETR in {len(size)}-D, mean of its map"
    return Family(name, label, build, size=size, needs=("monai", "einops"))


FOUR = (8, 16, 16, 16)
ONES = (1, 1, 1, 1)

WIDER: list[Family] = [
    of(
        "coat",
        "timm `coat_*`",
        "coat_tiny",
        img_size=64,
        embed_dims=(64,) * 4,
        serial_depths=ONES,
        parallel_depth=1,
        num_heads=8,
    ),
    of(
        "coat_lite",
        "timm `coat_lite_*`",
        "coat_lite_tiny",
        img_size=64,
        embed_dims=(64,) * 4,
        serial_depths=ONES,
        num_heads=8,
    ),
    of(
        "crossvit",
        "timm `crossvit_*`",
        "crossvit_tiny_240",
        img_size=64,
        img_scale=(1.0, 0.75),
        patch_size=(8, 12),
        embed_dim=(16, 32),
        depth=((1, 1, 0),),
        num_heads=(2, 2),
    ),
    of(
        "efficientformerv2",
        "timm `efficientformerv2_*`",
        "efficientformerv2_s0",
        img_size=64,
        depths=(1, 1, 1, 2),
        embed_dims=(8, 16, 16, 16),
        num_vit=1,
    ),
    of(
        "hieradet",
        "timm `hieradet_*`, `sam2_hiera_*`",
        "sam2_hiera_tiny",
        embed_dim=8,
        stages=(1, 1, 2, 1),
        global_att_blocks=(3,),
    ),
    Family("poolformerv2", "timm `poolformerv2_*`", poolformerv2, size=(64, 64)),
    Family("csatv2", "timm `csatv2`", csatv2, size=(256, 256)),
    of(
        "convit",
        "timm `convit_*`",
        "convit_tiny",
        32,
        img_size=32,
        patch_size=8,
        embed_dim=16,
        depth=2,
        num_heads=2,
        local_up_to_layer=1,
    ),
    of(
        "efficientvit_b0",
        "timm `efficientvit_b*` (MIT)",
        "efficientvit_b0",
        widths=(4, 4, 8, 16, 16),
        depths=ONES,
        head_dim=8,
        head_widths=(16, 16),
    ),
    of(
        "efficientvit_m0",
        "timm `efficientvit_m*` (MSRA)",
        "efficientvit_m0",
        img_size=64,
        embed_dim=(8, 8, 16),
        key_dim=(4, 4, 4),
        depth=(1, 1, 1),
        num_heads=(2, 2, 2),
        window_size=(2, 2, 2),
    ),
    of("mobilevit", "timm `mobilevit_*`", "mobilevit_xxs"),
    of("mobilevitv2", "timm `mobilevitv2_*`", "mobilevitv2_050"),
    Family("mvitv2", "timm `mvitv2_*`", mvitv2, size=(64, 64)),
    of("hiera", "timm `hiera_*`", "hiera_tiny_224", img_size=(64, 64), embed_dim=8, stages=ONES, mask_unit_size=(8, 8)),
    of("edgenext", "timm `edgenext_*`", "edgenext_xx_small", dims=FOUR, depths=(1, 1, 2, 1), heads=(2, 2, 2, 2)),
    Family("maxvit", "timm `maxvit_*`", maxvit, size=(64, 64)),
    of(
        "levit",
        "timm `levit_*`",
        "levit_128s",
        64,
        img_size=64,
        embed_dim=(16, 16),
        key_dim=8,
        depth=(1, 1),
        num_heads=(2, 2),
    ),
    of(
        "levit_conv",
        "timm `levit_conv_*`",
        "levit_conv_128s",
        64,
        img_size=64,
        embed_dim=(16, 16),
        key_dim=8,
        depth=(1, 1),
        num_heads=(2, 2),
    ),
    of(
        "tiny_vit",
        "timm `tiny_vit_*`",
        "tiny_vit_5m_224",
        embed_dims=FOUR,
        depths=ONES,
        num_heads=(2, 2, 2, 2),
        window_sizes=(4, 4, 4, 2),
    ),
    Family(
        "fastvit",
        "timm `fastvit_*` with attention",
        timm_model("fastvit_sa12", layers=ONES, embed_dims=(8, 8, 16, 32)),
        MEAN,
        size=(64, 64),
    ),
    of(
        "twins_svt",
        "timm `twins_svt_*`",
        "twins_svt_small",
        img_size=64,
        embed_dims=FOUR,
        depths=(1, 1, 2, 1),
        num_heads=(1, 1, 2, 2),
        wss=(4, 4, 4, 2),
    ),
    of(
        "twins_pcpvt",
        "timm `twins_pcpvt_*`",
        "twins_pcpvt_small",
        img_size=64,
        embed_dims=FOUR,
        depths=ONES,
        num_heads=(1, 1, 2, 2),
    ),
    of("davit", "timm `davit_*`", "davit_tiny", embed_dims=FOUR, depths=ONES, num_heads=(2, 2, 2, 2), window_size=2),
    Family(
        "nest",
        "timm `nest_*`",
        timm_class("nest", "Nest", img_size=64, embed_dims=(8, 16, 16), num_heads=(2, 2, 2), depths=(1, 1, 1)),
        size=(64, 64),
    ),
    Family(
        "volo",
        "timm `volo_*`",
        timm_class("volo", "VOLO", img_size=64, layers=(1, 1, 0, 0), embed_dims=(16,) * 4, num_heads=(2, 2, 2, 2)),
        size=(64, 64),
    ),
    Family(
        "gcvit",
        "timm `gcvit_*`",
        timm_class("gcvit", "GlobalContextVit", img_size=64, embed_dim=8, depths=(1, 2, 1, 1), num_heads=(2, 2, 2, 2)),
        size=(64, 64),
    ),
    Family(
        "focalnet", "timm `focalnet_*`", timm_class("focalnet", "FocalNet", embed_dim=8, depths=ONES), size=(64, 64)
    ),
    of("repvit", "timm `repvit_*`", "repvit_m0_9", embed_dim=FOUR, depth=ONES),
    of(
        "samvit",
        "timm `samvit_*`",
        "samvit_base_patch16_224",
        img_size=64,
        patch_size=8,
        embed_dim=16,
        depth=2,
        num_heads=2,
        window_size=4,
        global_attn_indexes=(1,),
        neck_chans=16,
    ),
    of("botnet", "timm `botnet*`", "botnet26t_256", img_size=64),
    of(
        "visformer",
        "timm `visformer_*`",
        "visformer_tiny",
        img_size=64,
        embed_dim=16,
        depth=(1, 1, 1),
        num_heads=2,
        init_channels=8,
        group=2,
    ),
    of("pit", "timm `pit_*`", "pit_ti_224", img_size=64, base_dims=(8, 8, 8), depth=(1, 1, 1), heads=(1, 2, 4)),
    of(
        "tnt",
        "timm `tnt_*`",
        "tnt_s_patch16_224",
        32,
        img_size=32,
        embed_dim=32,
        inner_dim=8,
        depth=2,
        num_heads_inner=2,
        num_heads_outer=2,
    ),
    of(
        "vit_r_s16_p8",
        "timm `vit_*_r_s16_p8_*` (convolutional stem, patches)",
        "vit_tiny_r_s16_p8_224",
        img_size=64,
        embed_dim=32,
        depth=2,
        num_heads=2,
        patch_size=2,
    ),
    Family("naflexvit", "timm `naflexvit_*`", naflexvit, MEAN),
    hf("Cvt", image_size=64, embed_dim=[8, 16, 16], num_heads=[1, 2, 2], depth=[1, 2, 3]),
    hf("Pvt", image_size=64, depths=[1] * 4, hidden_sizes=[8, 16, 16, 16], num_attention_heads=[1, 1, 2, 2]),
    hf("PvtV2", image_size=64, depths=[1] * 4, hidden_sizes=[8, 16, 16, 16], num_attention_heads=[1, 1, 2, 2]),
    hf("MobileViT", image_size=64, hidden_sizes=[8, 8, 16], neck_hidden_sizes=[4, 8, 8, 8, 8, 8, 16]),
    hf("MobileViTV2", 256, image_size=256, width_multiplier=0.25),
    hf(
        "Levit",
        image_size=64,
        hidden_sizes=[16, 16, 16],
        num_attention_heads=[2, 2, 2],
        depths=[1, 1, 1],
        key_dim=[8, 8, 8],
    ),
    hf("PoolFormer", image_size=64, depths=[1] * 4, hidden_sizes=[8, 16, 16, 16]),
    hf("SwiftFormer", image_size=64, depths=[1] * 4, embed_dims=[8, 16, 16, 16]),
    hf("Hiera", image_size=[64, 64], embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8]),
    hf("FocalNet", image_size=64, embed_dim=8, depths=[1] * 4),
    video("Vivit", tubelet_size=[2, 8, 8]),
    video("Timesformer", patch_size=8),
    swin_unetr("swin_unetr", 64, 64),
    hf("Swinv2", 32, image_size=32, embed_dim=16, depths=[2, 2], num_heads=[2, 2], window_size=4, patch_size=4),
]


def recent(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """The constructors' arguments above are those of timm 1.0.31; older ones lack models or name them otherwise."""

    def checked() -> nn.Module:
        if timm_is_older_than(1, 0, 31):
            pytest.skip("the models are built with the arguments of timm 1.0.31")
        return build()

    return checked


WIDER = [replace(family, build=recent(family.build)) for family in WIDER]
WIDER_BY_NAME = {family.name: family for family in WIDER}
