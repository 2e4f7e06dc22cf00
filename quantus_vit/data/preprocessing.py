"""From the grey values of a file to the input of a model: one geometry for images, masks and annotated points.

Knows NumPy, torch and Pillow. It may not know files, data sets or models: who has a grey image and a model's
:class:`Preprocessing` needs nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from .conventions import IMAGENET_MEAN, IMAGENET_STD
from .geometry import Geometry

__all__ = ["Preprocessing"]

_RESIZES = ("squash", "pad", "crop")
_INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_LARGEST_SIDE = 8192


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its images: size, geometry, resampling, and normalisation by channel.

    Parameters
    ----------
    size : tuple of int
        Height and width of the input in pixels.
    resize : str
        "squash" brings the image to the size and gives up its aspect ratio; "pad" keeps the ratio, makes the image
        fit and centres it within a border; "crop" keeps the ratio and lets the image cover the size.
    crop_fraction : float
        In (0, 1]: the image is resized as if the input were larger by its inverse, then the input is cut from the
        centre. timm's ``crop_pct``.
    interpolation : str
        "bilinear", "bicubic" or "nearest", of Pillow, with antialiasing for the first two. Masks are always mapped by
        "nearest".
    mean, std : tuple of float
        Subtracted from and dividing the grey values in [0, 1]; one number for each channel.
    channels : int
        1 or 3; a grey image fills three channels with the same values.
    fill : float or None
        Grey value in [0, 1] of a border; None: the mean of each channel, 0 after the normalisation.

    Raises
    ------
    TypeError, ValueError
        A value of the wrong kind, or out of its range; the message names it.

    Notes
    -----
    Where all values are multiples of 1/255, as those of a file of 8 bits are, they are resampled in 8 bits, otherwise
    in float32. So an 8-bit file becomes to the bit what the transforms of torchvision and timm make of it.

    Examples
    --------
    >>> import numpy as np
    >>> preprocessing = Preprocessing(size=(4, 4), resize="pad", mean=(0.5,), std=(0.5,), channels=1)
    >>> preprocessing.image(np.ones((2, 4), dtype=np.float32))[0, :, 0].tolist()
    [-1.0, 1.0, 1.0, -1.0]
    >>> preprocessing.points([[0.0, 0.0]], (2, 4)).tolist()
    [[0.0, 1.0]]
    """

    size: tuple[int, int] = (224, 224)
    resize: str = "squash"
    crop_fraction: float = 1.0
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channels: int = 3
    fill: float | None = 0.0

    def __post_init__(self) -> None:
        """Refuse values that make no sense, naming them."""
        _check_tuple("size", self.size, int)
        if len(self.size) != 2 or not all(1 <= side <= _LARGEST_SIDE for side in self.size):
            raise ValueError(f"size must be two sides of 1 to {_LARGEST_SIDE} pixels, got {self.size!r}")
        for name, value, allowed in (
            ("resize", self.resize, _RESIZES),
            ("interpolation", self.interpolation, tuple(_INTERPOLATIONS)),
            ("channels", self.channels, (1, 3)),
        ):
            if isinstance(value, bool) or value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
        if not _is_number(self.crop_fraction) or not 0.05 <= self.crop_fraction <= 1:
            raise ValueError(f"crop_fraction must be a share in [0.05, 1], got {self.crop_fraction!r}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            _check_tuple(name, values, (int, float))
            if len(values) != self.channels:
                raise ValueError(f"{name} must have one number for each of {self.channels} channels, got {values!r}")
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std must be positive, got {self.std!r}")
        if self.fill is not None and not (_is_number(self.fill) and 0 <= self.fill <= 1):
            raise ValueError(f"fill must be a grey value in [0, 1] or None, got {self.fill!r}")

    def geometry(self, shape: tuple[int, int]) -> Geometry:
        """The affine map for images of a shape.

        Parameters
        ----------
        shape : tuple of int
            Height and width of the file's image.
        """
        rows, columns = shape
        if rows < 1 or columns < 1:
            raise ValueError(f"an image needs at least one pixel, got the shape {tuple(shape)!r}")
        target = tuple(math.floor(side / self.crop_fraction) for side in self.size)
        if self.resize == "squash":
            resized = target
        elif self.resize == "pad":
            ratio = min(target[0] / rows, target[1] / columns)
            resized = tuple(max(1, round(length * ratio)) for length in (rows, columns))
        else:
            ratio = max(target[0] / rows, target[1] / columns)
            # Whole pixels by cutting off, as torchvision does; the side that decides is exact but for rounding.
            resized = tuple(max(1, math.floor(length * ratio + 1e-6)) for length in (rows, columns))
        top, left = (_centred(length, side) for length, side in zip(resized, self.size, strict=True))
        return Geometry((rows, columns), (resized[0], resized[1]), top, left, self.size)

    def image(self, grey: npt.ArrayLike | torch.Tensor) -> torch.Tensor:
        """Make a model's input of a grey image.

        Parameters
        ----------
        grey : array_like or torch.Tensor
            ``(h, w)``, values in [0, 1].

        Returns
        -------
        torch.Tensor
            float32 ``(C, H, W)``, normalised.

        Raises
        ------
        ValueError
            Another number of axes, or values that are not finite or not in [0, 1].
        """
        values = np.asarray(grey, dtype=np.float32)
        if values.ndim != 2:
            raise ValueError(f"a grey image has the shape (h, w), got {values.shape}")
        if values.size and not (values.min() >= 0 and values.max() <= 1):  # also false for nan
            raise ValueError(f"grey values must be in [0, 1], got {values.min()} to {values.max()}")
        geometry = self.geometry((values.shape[0], values.shape[1]))
        levels = np.rint(values * np.float32(255)).astype(np.uint8)
        is_8_bit = np.array_equal(levels.astype(np.float32) / np.float32(255), values)
        image = Image.fromarray(levels if is_8_bit else values)
        border = (self.fill or 0.0) * (255 if is_8_bit else 1)
        resampled = torch.from_numpy(geometry.resample(image, _INTERPOLATIONS[self.interpolation], border))
        # Bicubic interpolation overshoots; in 8 bits Pillow clips by itself.
        normalised = self.normalise(resampled.float() / 255.0 if is_8_bit else resampled.clamp(0, 1))
        if self.fill is None:
            covered = geometry.resample(Image.new("L", values.shape[::-1], 1), Image.Resampling.NEAREST, 0)
            normalised.masked_fill_(torch.from_numpy(covered == 0), 0.0)
        return normalised

    def mask(self, mask: npt.ArrayLike | torch.Tensor) -> torch.Tensor:
        """Map a mask as :meth:`image` maps its image.

        Parameters
        ----------
        mask : array_like or torch.Tensor
            bool ``(h, w)``.

        Returns
        -------
        torch.Tensor
            bool ``(1, H, W)``, by nearest neighbour; False in a border.
        """
        values = np.asarray(mask)
        if values.ndim != 2 or values.dtype != np.bool_:
            raise ValueError(f"a mask is bool of the shape (h, w), got {values.dtype} of {values.shape}")
        image = Image.fromarray(values.astype(np.uint8))
        geometry = self.geometry((values.shape[0], values.shape[1]))
        return torch.from_numpy(geometry.resample(image, Image.Resampling.NEAREST, 0)).bool()[None]

    def points(self, xy: npt.ArrayLike, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
        """Map corners of polygons and boxes as :meth:`image` maps their image.

        Parameters
        ----------
        xy : array_like
            ``(..., 2)``, x before y, in pixels of the file; see :meth:`Geometry.points`.
        shape : tuple of int
            Height and width of the file's image.

        Returns
        -------
        numpy.ndarray
            float64 ``(..., 2)``, in pixels of the input.
        """
        return self.geometry(shape).points(xy)

    def undo(self, relevance: npt.ArrayLike, shape: tuple[int, int], nearest: bool = False) -> npt.NDArray[np.float32]:
        """Bring a map of the input back to the pixels of the file.

        Parameters
        ----------
        relevance : array_like
            ``(H, W)``, one value a pixel of the input.
        shape : tuple of int
            Height and width of the file's image.
        nearest : bool
            See :meth:`Geometry.undo`.

        Returns
        -------
        numpy.ndarray
            float32 ``(h, w)``; nan where the model did not see the file's pixel.
        """
        return self.geometry(shape).undo(relevance, nearest)

    def grey(self, image: torch.Tensor) -> torch.Tensor:
        """Undo the normalisation.

        Parameters
        ----------
        image : torch.Tensor
            float ``(C, H, W)``, as :meth:`image` gives it.

        Returns
        -------
        torch.Tensor
            float32 ``(H, W)`` in [0, 1].
        """
        return (image[0].float() * self.std[0] + self.mean[0]).clamp(0, 1)

    def normalise(self, grey: torch.Tensor) -> torch.Tensor:
        """Normalise grey values that have the model's size already.

        Parameters
        ----------
        grey : torch.Tensor
            float ``(H, W)`` in [0, 1].

        Returns
        -------
        torch.Tensor
            float32 ``(C, H, W)``.
        """
        mean, std = (torch.tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in (self.mean, self.std))
        return (grey[None] - mean) / std

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Read what :meth:`to_dict` wrote.

        Parameters
        ----------
        values : mapping of str to Any

        Returns
        -------
        Preprocessing

        Raises
        ------
        TypeError, ValueError
            No mapping, an unknown name, or a value that the class refuses.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"preprocessing must be a mapping, got {values!r}")
        known = [field.name for field in fields(cls)]
        unknown = sorted(map(str, values.keys() - set(known)))
        if unknown:
            raise ValueError(f"preprocessing has no {', '.join(map(repr, unknown))}; there are: {', '.join(known)}")
        checked: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**checked)


def _centred(length: int, side: int) -> int:
    """Where ``side`` pixels begin in the middle of ``length``; an odd pixel goes where torchvision and timm put it."""
    return round((length - side) / 2) if length >= side else -((side - length) // 2)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_tuple(name: str, values: object, kind: type | tuple[type, ...]) -> None:
    if not isinstance(values, tuple) or not all(isinstance(value, kind) and _is_number(value) for value in values):
        raise TypeError(f"{name} must be a tuple of finite numbers, got {values!r}")
