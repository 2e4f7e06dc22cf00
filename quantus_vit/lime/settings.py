"""The options of ``LimeCXR``, checked before any image is seen. Knows the names that this folder's files offer."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from numpy.typing import NDArray

from .neighbourhood import LINKS, Link
from .replacement import Replacement, check_replacement
from .sampling import DESIGNS
from .segmentation import SegmentFunction, check_segments

__all__ = ["ALL_FEATURES", "FEATURE_SELECTIONS", "Settings", "check_whole"]

ALL_FEATURES = 100_000  # lime's default for num_features
FEATURE_SELECTIONS = ("auto", "highest_weights", "forward_selection", "lasso_path", "none")


@dataclass(frozen=True, eq=False)
class Settings:
    """What one explanation depends on beside model and image; the meaning of each is told by ``LimeCXR``."""

    num_samples: int
    segments: str | SegmentFunction | NDArray[Any]
    seed: int
    num_segments: int | None
    replacement: Replacement
    kernel_width: float
    sampling: str
    feature_selection: str
    stable_features: int | None
    link: Link | None

    def __post_init__(self) -> None:
        for name in ("num_samples", "seed", "num_segments", "stable_features"):
            check_whole(name, getattr(self, name))
        if not isinstance(self.kernel_width, Real):
            raise ValueError(f"kernel_width={self.kernel_width!r} must be a number")
        if self.num_samples < 2:
            raise ValueError(f"num_samples={self.num_samples}; LIME needs at least 2")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed={self.seed} must be in [0, 2**32)")
        if not self.kernel_width > 0:
            raise ValueError(f"kernel_width={self.kernel_width} must be positive")
        _choice("sampling", self.sampling, tuple(DESIGNS))
        _choice("feature_selection", self.feature_selection, FEATURE_SELECTIONS)
        if self.stable_features is not None and self.stable_features < 1:
            raise ValueError(f"stable_features={self.stable_features}; use a positive number, or None for all samples")
        if self.link is not None:
            _choice("link", self.link, tuple(LINKS))
        check_segments(self.segments, self.num_segments)
        check_replacement(self.replacement)


def check_whole(name: str, value: object) -> None:
    """Refuse with a ``ValueError`` what is neither a whole number nor None."""
    if value is not None and not isinstance(value, Integral):
        raise ValueError(f"{name}={value!r} must be a whole number")


def _choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is unknown; choose one of {', '.join(map(repr, allowed))}")
