"""For which methods a metric means nothing, and why: the texts of ``not_applicable.csv``."""

from __future__ import annotations

from ..methods import MethodSpec

__all__ = ["made_of_another", "not_complete", "not_of_the_model"]


def made_of_another(method: MethodSpec) -> str:
    """Changed images leave a map alone that is made of another method's map of the unchanged one."""
    return "it is made of another method's map of the unchanged image" if method.of_another else ""


def not_of_the_model(method: MethodSpec) -> str:
    """Changed models leave controls alone."""
    return "a control does not look at the model" if method.role == "control" else ""


def not_complete(method: MethodSpec) -> str:
    """Sums of values say something of methods that claim completeness."""
    return "" if method.complete else "it does not claim that its values add up to a fall of the logit"
