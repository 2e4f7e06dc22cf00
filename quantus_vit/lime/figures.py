"""Pictures of an explanation: outlines of the most important superpixels and signed overlays. Knows no model.

Colours are Okabe and Ito's orange (speaks for the class) and blue (speaks against it): told apart under every common
colour blindness and, with their dark casing, seen on black lung and white bone alike.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from lime.lime_image import ImageExplanation
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from skimage.morphology import dilation, footprint_rectangle
from skimage.segmentation import find_boundaries

from .explanation import dense_map
from .segmentation import stretch_grey

__all__ = ["explanation_figure", "greyscale", "outline_picture", "overlay_picture", "top_segments"]

Picture = NDArray[np.float64]
Show = Literal["positive", "negative", "both"]

FOR = (0.902, 0.624, 0.0)
AGAINST = (0.337, 0.706, 0.914)
SIGNED = LinearSegmentedColormap.from_list("for_against", [(0.0, 0.447, 0.698), (1.0, 1.0, 1.0), (0.835, 0.369, 0.0)])


def greyscale(explanation: ImageExplanation) -> Picture:
    """The explained image as (H, W, 3) grey in [0, 1], whatever the model's normalisation."""
    grey = stretch_grey(np.moveaxis(np.asarray(explanation.image), -1, 0))
    return np.repeat(grey[..., None], 3, axis=-1)


def top_segments(explanation: ImageExplanation, label: int, num_features: int, show: Show = "positive") -> list[int]:
    """Numbers of the most important superpixels for class ``label``, in lime's order.

    Parameters
    ----------
    explanation : ImageExplanation
        Of ``LimeCXR.explain_instance``, or lime's own.
    label : int
        An explained class.
    num_features : int
        At most so many.
    show : Show
        "positive": those that speak for the class; "negative": against; "both": the largest weights of either sign.

    Returns
    -------
    list of int
        At most ``num_features`` numbers of ``explanation.segments``.
    """
    if label not in explanation.local_exp:
        raise ValueError(f"class {label} was not explained; there are {sorted(explanation.local_exp)}")
    if show not in ("positive", "negative", "both"):
        raise ValueError(f"show={show!r}; use 'positive', 'negative' or 'both'")
    sign = {"positive": 1, "negative": -1, "both": 0}[show]
    chosen = [segment for segment, weight in explanation.local_exp[label] if weight != 0 and weight * sign >= 0]
    return chosen[:num_features]


def outline_picture(
    explanation: ImageExplanation,
    label: int,
    num_features: int = 3,
    show: Show = "positive",
    dim: float = 0.6,
    scale: int = 3,
) -> Picture:
    """The image with its most important superpixels outlined, as in the paper's figure with 3 and 8 features.

    Parameters
    ----------
    explanation, label, num_features, show
        See ``top_segments``.
    dim : float
        Brightness of everything else, 1: as it is.
    scale : int
        Pixels of the picture for one of the image, so that outlines are thin against the anatomy.

    Returns
    -------
    numpy.ndarray
        Shape (H * scale, W * scale, 3), in [0, 1].
    """
    weights = dict(explanation.local_exp.get(label, []))
    chosen = top_segments(explanation, label, num_features, show)
    segments = _enlarge(np.asarray(explanation.segments), scale)
    visible = np.isin(segments, chosen)
    picture = _enlarge(greyscale(explanation), scale) * np.where(visible, 1.0, dim)[..., None]
    lines = {
        FOR: _outlines(segments, [segment for segment in chosen if weights[segment] > 0]),
        AGAINST: _outlines(segments, [segment for segment in chosen if weights[segment] < 0]),
    }
    casing = dilation(np.logical_or.reduce(list(lines.values())), footprint_rectangle((3, 3)))
    picture[casing] = 0.0
    for colour, line in lines.items():
        picture[line] = colour
    return picture


def overlay_picture(
    explanation: ImageExplanation, label: int, limit: float | None = None, opacity: float = 0.65, scale: int = 1
) -> Picture:
    """The image under the signed map: orange for the class, blue against it, clear where the coefficient is 0.

    Parameters
    ----------
    explanation, label
        See ``top_segments``.
    limit : float, optional
        Coefficient of full colour; None: the largest of this map. Give one number to compare classes or images.
    opacity : float
        Of full colour.
    scale : int
        Pixels of the picture for one of the image.

    Returns
    -------
    numpy.ndarray
        Shape (H * scale, W * scale, 3), in [0, 1].
    """
    coefficients = dense_map(explanation, label).astype(np.float64)
    if limit is None:
        limit = float(np.abs(coefficients).max()) or 1.0
    if not limit > 0:
        raise ValueError(f"limit={limit} must be positive")
    strength = np.clip(coefficients / limit, -1.0, 1.0)
    colour = np.asarray(SIGNED((strength + 1) / 2))[..., :3]
    share = opacity * np.abs(strength)[..., None]
    return _enlarge(greyscale(explanation) * (1 - share) + colour * share, scale)


def explanation_figure(
    explanation: ImageExplanation, label: int, title: str = "", features: tuple[int, ...] = (3, 8)
) -> Figure:
    """Image, superpixels, outlines for each number of features, and the signed overlay with its scale, side by side.

    Parameters
    ----------
    explanation : lime.lime_image.ImageExplanation
        Of ``LimeCXR.explain_instance``, or lime's own.
    label : int
        An explained class.
    title : str
        Above the panels.
    features : tuple of int
        Numbers of superpixels, a panel for each.

    Returns
    -------
    matplotlib.figure.Figure
        Not known to pyplot; save it by ``figure.savefig(path)``.
    """
    panels: list[tuple[str, Picture]] = [("image", greyscale(explanation)), ("superpixels", _all_outlines(explanation))]
    panels += [(f"{count} features", outline_picture(explanation, label, count)) for count in features]
    panels.append((f"class {label}, R² {_fit_quality(explanation, label)}", overlay_picture(explanation, label)))
    figure = Figure(figsize=(2.6 * len(panels) + 0.6, 3.0), layout="constrained")
    axes = figure.subplots(1, len(panels))
    for axis, (name, picture) in zip(axes, panels, strict=True):
        shown = axis.imshow(picture)
        axis.set_title(name, fontsize=9)
        axis.set_axis_off()
    limit = float(np.abs(dense_map(explanation, label)).max()) or 1.0
    shown.set_cmap(SIGNED)
    shown.set_clim(-limit, limit)
    figure.colorbar(shown, ax=axes[-1], fraction=0.05, label="for (+) / against (-)")
    figure.suptitle(title)
    return figure


def _fit_quality(explanation: ImageExplanation, label: int) -> str:
    return f"{getattr(explanation, 'r2', {}).get(label, explanation.score):.2f}"


def _all_outlines(explanation: ImageExplanation, scale: int = 3) -> Picture:
    picture = _enlarge(greyscale(explanation), scale)
    picture[find_boundaries(_enlarge(np.asarray(explanation.segments), scale), mode="inner")] = FOR
    return picture


def _outlines(segments: NDArray[Any], chosen: list[int]) -> NDArray[np.bool_]:
    """Pixels at the inner border of the chosen segments, each outlined by itself."""
    kept = np.where(np.isin(segments, chosen), segments, -1)
    borders: NDArray[np.bool_] = find_boundaries(kept, mode="inner", background=-1)
    lines: NDArray[np.bool_] = dilation(borders, footprint_rectangle((2, 2))) & (kept >= 0)
    return lines


def _enlarge(array: NDArray[Any], scale: int) -> NDArray[Any]:
    return array.repeat(scale, axis=0).repeat(scale, axis=1)
