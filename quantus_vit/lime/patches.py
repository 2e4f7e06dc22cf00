"""The patch size of a Vision Transformer, for segments that are its patches."""

from __future__ import annotations

from torch import Tensor, nn

from ..attribution.grid import patch_grid

__all__ = ["patch_size"]


def patch_size(model: nn.Module, image: Tensor) -> tuple[int, int]:
    """Height and width in pixels of the patches into which the model cuts an image, from one forward.

    Parameters
    ----------
    model : nn.Module
        A classifier with attention, in evaluation mode.
    image : Tensor
        (C, H, W), on the model's device.

    Raises
    ------
    ValueError
        The model has no attention over places of the image.
    """
    try:
        rows, columns = patch_grid(model, image[None])
    except ValueError as error:
        raise ValueError(
            f'segments="grid" needs a model that cuts the image into patches: {error}. Give an explicit segment map, '
            "e.g. quantus_vit.lime.grid_segments((H, W), (16, 16))"
        ) from error
    height, width = image.shape[-2:]
    return round(height / rows), round(width / columns)
