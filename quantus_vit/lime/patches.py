"""The patch size of a Vision Transformer, for segments that are its patches. Knows torch only."""

from __future__ import annotations

from torch import nn


def patch_size(model: nn.Module) -> tuple[int, int]:
    """Height and width in pixels of the model's patches: of its first convolution whose kernel and stride are equal.

    Raises
    ------
    ValueError
        The model has no such convolution.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == module.stride and max(module.kernel_size) > 1:
            height, width = module.kernel_size
            return height, width
    raise ValueError(
        'segments="grid" needs a model that cuts the image into patches by a convolution whose stride equals its '
        f"kernel; {type(model).__name__} has none. Give an explicit segment map, e.g. "
        "quantus_vit.lime.grid_segments((H, W), (16, 16))."
    )
