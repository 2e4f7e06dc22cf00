"""Errors that are this package's own; all others are plain ``ValueError``, ``TypeError`` or ``FileNotFoundError``."""

from __future__ import annotations

__all__ = ["GraphWarning", "RelevanceCutWarning", "UnsupportedOperationError"]


class UnsupportedOperationError(TypeError):
    """The model runs an operation for which no relevance rule is known.

    Raised instead of passing relevance on by a rule that nobody chose. The message names the operation, the shapes it
    was called with and the module it ran in.
    """


class GraphWarning(UserWarning):
    """An attribution that was to be replayed as a CUDA graph is computed without one; the message says why."""


class RelevanceCutWarning(UserWarning):
    """The model cuts the path of relevance: what it detaches, or computes under ``no_grad``, counts as a constant.

    The message names the module. Wanted cuts are allowed by :func:`quantus_vit.relevance.allow_cuts`.
    """
