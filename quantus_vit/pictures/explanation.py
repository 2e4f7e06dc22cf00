"""What a picture of a map says: one record for all formats of files. Knows NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["RESEARCH_ONLY", "Explanation"]

RESEARCH_ONLY = "Research use only - AI explanation, not for diagnosis"
"""Stands in whatever may reach a clinical viewer."""


@dataclass(frozen=True)
class Explanation:
    """One image, one map of it, and what they are called.

    Parameters
    ----------
    name : str
        What the image is called in pictures and tables; no more of the patient than the caller wants to be read.
    grey : numpy.ndarray
        float32 ``(h, w)`` in [0, 1]: the image in the pixels of its file.
    relevance : numpy.ndarray
        float32 ``(h, w)`` in the same pixels; nan where the model does not see the image.
    signed : bool
        Whether negative relevance means something.
    method : str
        With its options in brackets.
    target : str
        Name of the explained output.
    probability : float
        The model's, of that output.
    prediction : str
        What the model predicts, in words.
    model_digest : str
        Identifies the model's weights.
    source : str
        The image's file, for formats that take over what it says of patient and study.
    """

    name: str
    grey: npt.NDArray[np.float32]
    relevance: npt.NDArray[np.float32]
    signed: bool
    method: str
    target: str
    probability: float
    prediction: str
    model_digest: str
    source: str

    @property
    def heading(self) -> str:
        """The map in a line as short as can be."""
        return f"{self.method} for {self.target} (prob. {self.probability:.2f})"

    @property
    def subject(self) -> str:
        """The map in one line, for readers who do not know what the target is."""
        return f"{self.method} for the model's output {self.target!r} (probability {self.probability:.2f})"

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """Which pixels the model sees, ``(h, w)``."""
        return np.isfinite(self.relevance)

    @property
    def without_gaps(self) -> npt.NDArray[np.float32]:
        """The relevance, 0 where the model does not see the image, for formats that know no nan."""
        return np.where(self.seen, self.relevance, np.float32(0))

    def to_dict(self) -> dict[str, Any]:
        """What the map is, for the description field of a file: nothing of the file's own name or the patient."""
        return {
            "method": self.method,
            "target": self.target,
            "probability": round(self.probability, 6),
            "model_digest": self.model_digest,
            "note": RESEARCH_ONLY,
        }
