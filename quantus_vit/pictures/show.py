"""``quantus_vit.show``: images beside their maps, by one method or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..data.preprocessing import Preprocessing
from .arrays import as_maps, as_pictures
from .picture import Picture
from .sheet import ScaleKind, SheetColumn, SheetRow, draw_sheet

__all__ = ["show"]


def show(
    images: Any,
    maps: Any,
    *,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    scale: ScaleKind = "own",
    title: str = "",
) -> Picture:
    """Draw images, each beside its maps.

    Parameters
    ----------
    images : torch.Tensor or array_like
        ``(N, C, H, W)`` as the model takes them, or one image ``(C, H, W)`` or ``(H, W)``.
    maps : torch.Tensor, array_like, or mapping of str to these
        What ``attribute`` returns: ``(N, C, h, w)``, channels are summed; or such maps by the name of their method.
    labels : sequence of str, optional
        What to call each image, such as its class.
    preprocessing : Preprocessing, optional
        That of the model, to undo its normalisation (``classifier.preprocessing``); without it images are stretched.
    scale : str
        "own": each map up to its own full scale, which stands above it; "shared": the maps of a method on one scale, so
        that they can be compared with each other. Maps with negative values have a scale around 0.
    title : str

    Returns
    -------
    Picture
        A matplotlib figure that a notebook shows by itself; ``save`` writes it.

    Raises
    ------
    ValueError
        Shapes or numbers that do not fit each other.

    Examples
    --------
    >>> import torch
    >>> figure = show(torch.rand(2, 3, 32, 32), {"A": torch.rand(2, 1, 4, 4), "B": torch.randn(2, 3, 32, 32)})
    >>> type(figure).__name__
    'Picture'
    """
    pictures = as_pictures(images, preprocessing)
    by_method = dict(maps) if isinstance(maps, Mapping) else {"map": maps}
    if not by_method:
        raise ValueError("maps are empty; give the maps of at least one method")
    if isinstance(labels, str):
        raise ValueError(f"labels are a list of names, one for each image, got {labels!r}")
    if labels is not None and len(labels) != len(pictures):
        raise ValueError(f"labels are {len(labels)}, images {len(pictures)}; give one for each image")
    drawn = {str(name): as_maps(values, len(pictures)) for name, values in by_method.items()}
    columns = [SheetColumn(name, signed=False) for name in drawn]  # a negative value makes a column signed
    rows = [
        SheetRow(
            picture,
            str(labels[number]) if labels is not None else f"image {number}",
            "",
            [values[number] for values in drawn.values()],
        )
        for number, picture in enumerate(pictures)
    ]
    return draw_sheet(rows, columns, scale, title)
