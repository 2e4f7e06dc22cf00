"""Composites: which rule goes with which kind of operation, by default and by place in the model."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, cast, get_args

from .numerics import MessageKind
from .operations.base import KINDS
from .rules import (
    ConstantNormaliser,
    DetachedGate,
    DetachedNorm,
    Epsilon,
    Gamma,
    GradientTimesInput,
    NormalizedAdd,
    Pass,
    PassAfterClone,
    Rule,
    StopGradient,
    Uniform,
    ValuesOnly,
    ZBox,
    ZPlus,
)
from .rules.structure import Linked, Unchanged

__all__ = ["Composite", "attn_lrp", "dependence", "gradient", "gradient_by_rules", "libra_grad", "transformer_lrp"]


@dataclass(frozen=True)
class Composite:
    """A rule for every kind of operation, with exceptions by module name.

    Kinds are ``linear``, ``projection`` (in- and out-projection of ``nn.MultiheadAttention``), ``convolution``,
    ``matmul`` (scores), ``attention`` (attention weights times values), ``softmax``, ``normalisation``,
    ``activation``, ``add``, ``scale`` (times a constant), ``gate`` (product of two activations), ``pooling`` and
    ``normaliser`` (an activation times or over a norm, deviation or sum of activations).

    Parameters
    ----------
    message_kind : {"relevance", "multiplier"}
        What the backward messages are: relevances R, or multipliers R / activation ("modified gradients"). With
        multipliers a kind without a rule passes its true gradient on, which is LRP-0 where the operation is linear.
        With relevances a kind without a rule is an error when a model uses it.
    rules : mapping of kind to Rule
    exceptions : sequence of (pattern, mapping of kind to Rule)
        The last whose pattern (as in ``fnmatch``) matches the module's name wins.
    chosen : frozenset of str
        The kinds given to :meth:`using`: a trace tells which of them the model has no operation of.

    Raises
    ------
    ValueError
        An unknown kind, a rule that is not written for the composite's messages, or not for calls of that kind.
    TypeError
        What is given as a rule is none.

    Examples
    --------
    Gamma in the MLPs, epsilon in the first two blocks::

        attn_lrp().where("blocks.[01].*", linear=Epsilon())
    """

    message_kind: MessageKind
    rules: Mapping[str, Rule[Any]]
    exceptions: tuple[tuple[str, Mapping[str, Rule[Any]]], ...] = field(default=())
    chosen: frozenset[str] = field(default=frozenset())

    def __post_init__(self) -> None:
        if self.message_kind not in get_args(MessageKind):
            raise ValueError(f'message_kind must be "relevance" or "multiplier", not {self.message_kind!r}')
        for rules in (self.rules, *(rules for _, rules in self.exceptions)):
            for kind, rule in rules.items():
                check_rule(rule, kind, self.message_kind)
        object.__setattr__(self, "rules", MappingProxyType(dict(self.rules)))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message_kind, dict(self.rules), self.exceptions, self.chosen)

    def using(self, **rules: Rule[Any]) -> Composite:
        """The same composite with other rules for some kinds.

        Parameters
        ----------
        **rules : Rule
            Kind of operation -> its rule.

        Returns
        -------
        Composite
        """
        return replace(self, rules={**self.rules, **rules}, chosen=self.chosen | rules.keys())

    def where(self, pattern: str, **rules: Rule[Any]) -> Composite:
        """The same composite with other rules in the modules whose name matches ``pattern`` (``fnmatch``).

        Parameters
        ----------
        pattern : str
            Of module names, such as ``"blocks.0.*"``; of several that match the last one holds.
        **rules : Rule
            Kind of operation -> its rule.

        Returns
        -------
        Composite
        """
        return replace(self, exceptions=(*self.exceptions, (pattern, rules)))

    @property
    def kinds_by_name(self) -> frozenset[str]:
        """The kinds for which an exception has a rule."""
        return frozenset(kind for _, rules in self.exceptions for kind in rules)

    def rule(self, kind: str, module_name: str) -> Rule[Any] | None:
        """The rule for an operation of ``kind`` in the module named ``module_name``; None where there is none.

        Parameters
        ----------
        kind : str
        module_name : str

        Returns
        -------
        Rule or None
        """
        for pattern, rules in reversed(self.exceptions):
            if kind in rules and fnmatchcase(module_name, pattern):
                return cast("Rule[Any]", rules[kind])
        return self.rules.get(kind)


def check_rule(rule: Any, kind: str, message_kind: MessageKind) -> None:
    """Raise unless the rule is written for these messages and for every operation of the kind.

    Raises
    ------
    ValueError, TypeError
        As :class:`Composite` says.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of operation {kind!r}; the kinds are {', '.join(KINDS)}")
    if not isinstance(rule, Rule):
        raise TypeError(f"the rule for {kind!r} must be a Rule instance, not {rule!r}")
    if message_kind not in rule.message_kinds:
        raise ValueError(
            f"{rule!r} for {kind!r} takes messages of kind {' or '.join(map(repr, rule.message_kinds))}, and this "
            f"composite's are {message_kind!r} (see Rule.message_kinds)"
        )
    others = [operation.__name__ for operation in KINDS[kind] if not issubclass(operation, rule.operations)]
    if others:
        raise ValueError(
            f"{rule!r} is a rule of {rule.operations.__name__}, which {kind!r} ({', '.join(others)}) is not: it cannot "
            "serve this kind"
        )


def transformer_lrp(stabilizer: float = 0.0) -> Composite:
    """The z+ rules of TransformerLRP (Chefer, Gur and Wolf, CVPR 2021), as their code computes them.

    Parameters
    ----------
    stabilizer : float
        0: as their code. Above 0: the quotients whose denominators have parts of either sign (residual sums, attention
        scores, attention times values, pooling) are damped by so much of the denominator's root mean square.

    Returns
    -------
    Composite

    Raises
    ------
    ValueError
        The stabilizer is negative or not finite.
    """
    if not _is_finite(stabilizer) or stabilizer < 0:
        raise ValueError(f"stabilizer must be 0 or a positive number, not {stabilizer!r}")
    return Composite(
        "relevance",
        {
            "linear": ZPlus(),
            "projection": ZPlus(),
            "convolution": ZBox(),
            "matmul": Uniform(1e-9, stabilizer),
            "attention": Uniform(1e-9, stabilizer),
            "softmax": Pass(),
            "normalisation": PassAfterClone(),
            "activation": Pass(),
            "add": NormalizedAdd(damping=stabilizer),
            "scale": Pass(),
            "gate": Uniform(1e-9),
            "pooling": GradientTimesInput(stabilizer),
            "normaliser": ConstantNormaliser(),
        },
    )


def attn_lrp(conv_gamma: float = 0.25, linear_gamma: float = 0.05, attention_rule: str = "cp") -> Composite:
    """The rules of AttnLRP (Achtibat et al., ICML 2024), with gamma as LXT recommends for Vision Transformers.

    Parameters
    ----------
    conv_gamma, linear_gamma : float
        Gamma of convolutions and of linear layers; 0 is LRP-epsilon with epsilon 1e-6. In- and out-projections of
        ``nn.MultiheadAttention`` get LRP-0, as there.
    attention_rule : {"cp", "attnlrp"}
        ``"cp"``: relevance goes through the values only (Ali et al. 2022); ``"attnlrp"``: through softmax and both
        products.

    Returns
    -------
    Composite
    """
    for name, gamma in (("conv_gamma", conv_gamma), ("linear_gamma", linear_gamma)):
        if not _is_finite(gamma) or gamma < 0:
            raise ValueError(f"{name} must be 0 or more and finite, not {gamma!r}")
    if attention_rule not in ("cp", "attnlrp"):
        raise ValueError(f'attention_rule must be "cp" or "attnlrp", not {attention_rule!r}')
    rules: dict[str, Rule[Any]] = {
        "convolution": Gamma(conv_gamma) if conv_gamma else Epsilon(1e-6),
        "linear": Gamma(linear_gamma) if linear_gamma else Epsilon(1e-6),
        "normalisation": DetachedNorm(),
        "activation": Pass(),
        "matmul": Uniform(),
        "gate": Uniform(),
        "normaliser": ConstantNormaliser(),
    }
    if attention_rule == "cp":
        rules |= {"attention": ValuesOnly(), "softmax": StopGradient()}
    else:
        rules["attention"] = Uniform()
    return Composite("multiplier", rules)


def libra_grad(biases: bool = True) -> Composite:
    """The backward pass of LibraGrad (Mehri et al., CVPR 2025): factors that depend on the input count as constants.

    Attention weights, deviations of normalisations (those written by hand, too) and gates of activations are constants;
    a product of two activations, as in gates and in linear attention, hands half of its gradient to each factor.

    Parameters
    ----------
    biases : bool
        Give a rule to every operation that has a bias, so that :class:`~.biases.BiasTerms` sees it.
    """
    rules: dict[str, Rule[Any]] = {
        "attention": ValuesOnly(),
        "softmax": StopGradient(),
        "normalisation": DetachedNorm(),
        "activation": DetachedGate(),
        "gate": Uniform(),
        "matmul": Uniform(),
        "normaliser": ConstantNormaliser(),
    }
    return Composite("multiplier", {**rules, **_affine(biases)})


def gradient_by_rules(biases: bool = True) -> Composite:
    """The true gradient, by rules that are equal to it: linear layers leave out tokens that carry no message.

    Parameters
    ----------
    biases : bool
        As in :func:`libra_grad`.
    """
    return Composite("multiplier", {"normalisation": GradientTimesInput(), **_affine(biases)})


def _affine(convolutions: bool) -> dict[str, Rule[Any]]:
    rules: dict[str, Rule[Any]] = {"linear": Epsilon(), "projection": Epsilon()}
    return {**rules, "convolution": Epsilon()} if convolutions else rules


def gradient() -> Composite:
    """No rule at all: every message is the true gradient. For methods that weigh attention by its gradient."""
    return Composite("multiplier", {})


def dependence() -> Composite:
    """No explanation: a message of 1 at the logits stays above 0 wherever the logits depend on a value.

    Weights and slopes do not matter. For questions about the model's structure where gradients vanish.
    """
    unchanged = {"softmax": Unchanged(), "normalisation": Unchanged(), "activation": Unchanged()}
    return Composite("multiplier", {"linear": Linked(), "projection": Linked(), **unchanged})


def _is_finite(value: object) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, numbers.Real) and math.isfinite(value)
