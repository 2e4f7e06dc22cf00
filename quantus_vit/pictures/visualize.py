"""``quantus_vit.visualize``: one map, in the manner of Captum's ``visualize_image_attr``."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..data.preprocessing import Preprocessing
from .arrays import as_maps, as_pictures
from .drawing import TISSUE, add_colour_bar, draw_relevance, draw_xray, hide_frame
from .picture import Picture
from .scales import Sign, with_sign

__all__ = ["visualize"]

Array = npt.NDArray[Any]
Method = Literal["heat_map", "blended_heat_map", "original_image", "masked_image"]
_METHODS: tuple[Method, ...] = ("heat_map", "blended_heat_map", "original_image", "masked_image")


def visualize(
    relevance: Any,
    image: Any = None,
    method: Method = "blended_heat_map",
    sign: Sign = "all",
    *,
    preprocessing: Preprocessing | None = None,
    limit: float | None = None,
    show_colorbar: bool = True,
    title: str | None = None,
    fig_size: tuple[float, float] = (5.0, 5.0),
    axes: Axes | None = None,
) -> Figure:
    """Draw one map.

    Parameters
    ----------
    relevance : torch.Tensor or array_like
        ``(1, C, h, w)``, ``(C, h, w)`` or ``(h, w)``, as a method's ``attribute`` gives it; channels are summed. A grid
        of tokens is laid over the whole image.
    image : torch.Tensor or array_like, optional
        ``(1, C, H, W)``, ``(C, H, W)`` or ``(H, W)``; a "heat_map" needs none.
    method : str
        "heat_map": the map alone; "blended_heat_map": over the image, the more opaque the stronger; "original_image";
        "masked_image": the image, the darker the weaker the relevance.
    sign : str
        "all", "positive", "negative" or "absolute_value", see :func:`~quantus_vit.pictures.scales.with_sign`. Signed
        maps have a scale around 0, and what speaks against the class another hue, whatever is chosen.
    preprocessing : Preprocessing, optional
        That of the model, to undo its normalisation (``classifier.preprocessing``).
    limit : float, optional
        Where the scale ends; None: where 99.5 % of the map's own values lie below.
    show_colorbar : bool
        The scale, beside maps.
    title : str, optional
    fig_size : tuple of float
        Width and height of a new figure in inches.
    axes : matplotlib.axes.Axes, optional
        Where to draw, instead of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        Not known to pyplot. A new one is a :class:`~quantus_vit.pictures.picture.Picture`, which a notebook shows by
        itself and ``save`` writes.

    Raises
    ------
    ValueError
        An unknown method or sign, a missing image, shapes that do not fit, or "masked_image" with both signs.

    Examples
    --------
    >>> import torch
    >>> figure = visualize(torch.randn(1, 1, 8, 8), torch.rand(1, 3, 64, 64), sign="positive", title="a map")
    >>> figure.axes[0].get_title()
    'a map'
    """
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, _METHODS))}, got {method!r}")
    if method == "masked_image" and sign == "all":
        raise ValueError("a masked image shows no sign; choose sign='positive', 'negative' or 'absolute_value'")
    (values,) = as_maps(relevance, 1)
    pictures = [] if image is None else as_pictures(image, preprocessing)
    if len(pictures) > 1:
        raise ValueError(f"visualize draws one map over one image, got {len(pictures)} images; show draws several")
    picture = pictures[0] if pictures else None
    if picture is None and method != "heat_map":
        raise ValueError(f"method {method!r} needs an image")
    shown, colours, scale, label = with_sign(values, sign, limit)
    figure: Figure = Picture(figsize=fig_size, layout="constrained") if axes is None else _figure_of(axes)
    axes = figure.add_subplot() if axes is None else axes
    if method == "masked_image":
        assert picture is not None
        picture = _masked(picture, np.abs(shown) / max(scale.vmax or 0.0, -(scale.vmin or 0.0)))
    if method != "heat_map":
        assert picture is not None
        draw_xray(axes, picture)
    if "heat_map" in method:
        draw_relevance(axes, shown, colours, scale, None if picture is None else picture.shape[:2])
        axes.set_facecolor(TISSUE)
        hide_frame(axes)
        if show_colorbar:
            add_colour_bar(figure, colours, scale, axes, label, shrink=0.82, pad=0.02)
    if title:
        axes.set_title(title, fontsize=11)
    return figure


def _figure_of(axes: Axes) -> Figure:
    owner = axes.figure
    while not isinstance(owner, Figure):  # a part of a figure has axes, too
        owner = owner.figure
    return owner


def _masked(picture: Array, strength: Array) -> Array:
    """A picture times a map in [0, 1], whose pixels may be coarser."""
    rows, columns = (
        (np.arange(length) * cells // length) for length, cells in zip(picture.shape[:2], strength.shape, strict=True)
    )
    factor = strength.clip(0, 1)[np.ix_(rows, columns)]
    masked: Array = picture * (factor if picture.ndim == 2 else factor[..., None])
    return masked
