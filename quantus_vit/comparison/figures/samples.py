"""Figure 1: samples of every class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt
from matplotlib.figure import Figure

from ...pictures import draw_xray

__all__ = ["draw_samples"]


def draw_samples(images: Mapping[str, Sequence[npt.NDArray[Any]]], source: str) -> Figure:
    """Draw X-rays in rows by class.

    Parameters
    ----------
    images : mapping of str to sequence of ndarray
        Class name -> X-rays ``(H, W)`` in [0, 1].
    source : str
        Where they come from, for the title.

    Returns
    -------
    matplotlib.figure.Figure
        One row a class, named at its left.
    """
    columns = max(len(row) for row in images.values())
    figure = Figure(figsize=(2.1 * columns + 0.6, 2.15 * len(images) + 0.5), layout="constrained")
    figure.suptitle(f"Samples of each class ({source})", fontsize=12)
    grid = figure.subplots(len(images), columns, squeeze=False)
    for axes_row, (name, row) in zip(grid, images.items(), strict=True):
        for axes in axes_row[len(row) :]:
            axes.set_axis_off()
        for axes, grey in zip(axes_row, row, strict=False):
            draw_xray(axes, grey)
        axes_row[0].set_ylabel(name, fontsize=12)
    return figure
