"""Composites: which rule goes with which kind of operation, by default and by place in the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from types import MappingProxyType

from .rules import (
    DetachedNorm,
    Epsilon,
    Gamma,
    GradientTimesInput,
    MessageKind,
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

KINDS = (
    "linear",
    "projection",
    "convolution",
    "matmul",
    "attention",
    "softmax",
    "normalisation",
    "activation",
    "add",
    "scale",
    "gate",
    "pooling",
)


@dataclass(frozen=True)
class Composite:
    """A rule for every kind of operation, with exceptions by module name.

    Kinds are ``linear``, ``projection`` (in- and out-projection of ``nn.MultiheadAttention``), ``convolution``,
    ``matmul`` (scores), ``attention`` (attention weights times values), ``softmax``, ``normalisation``,
    ``activation``, ``add``, ``scale`` (times a constant), ``gate`` (product of two activations) and ``pooling``.

    Parameters
    ----------
    message_kind : {"relevance", "multiplier"}
        What the backward messages are: relevances R, or multipliers R / activation ("modified gradients"). With
        multipliers a kind without a rule passes its true gradient on, which is LRP-0 where the operation is linear.
        With relevances a kind without a rule is an error when a model uses it.
    rules : mapping of kind to Rule
    exceptions : sequence of (pattern, mapping of kind to Rule)
        The last whose pattern (as in ``fnmatch``) matches the module's name wins.

    Examples
    --------
    Gamma in the MLPs, epsilon in the first two blocks::

        attn_lrp().where("blocks.[01].*", linear=Epsilon())
    """

    message_kind: MessageKind
    rules: Mapping[str, Rule]
    exceptions: tuple[tuple[str, Mapping[str, Rule]], ...] = field(default=())

    def __post_init__(self) -> None:
        for kinds in (self.rules, *(rules for _, rules in self.exceptions)):
            for kind, rule in kinds.items():
                if kind not in KINDS:
                    raise ValueError(f"unknown kind of operation {kind!r}; the kinds are {', '.join(KINDS)}")
                if not isinstance(rule, Rule):
                    raise TypeError(f"the rule for {kind!r} must be a Rule instance, not {rule!r}")
        object.__setattr__(self, "rules", MappingProxyType(dict(self.rules)))

    def using(self, **rules: Rule) -> Composite:
        """The same composite with other rules for some kinds."""
        return replace(self, rules={**self.rules, **rules})

    def where(self, pattern: str, **rules: Rule) -> Composite:
        """The same composite with other rules in the modules whose name matches ``pattern`` (``fnmatch``)."""
        return replace(self, exceptions=(*self.exceptions, (pattern, rules)))

    def rule(self, kind: str, module_name: str) -> Rule | None:
        """The rule for an operation of ``kind`` in the module named ``module_name``; None where there is none."""
        for pattern, rules in reversed(self.exceptions):
            if kind in rules and fnmatchcase(module_name, pattern):
                return rules[kind]
        return self.rules.get(kind)


def transformer_lrp() -> Composite:
    """The z+ rules of TransformerLRP (Chefer, Gur and Wolf, CVPR 2021), as their code computes them."""
    return Composite(
        "relevance",
        {
            "linear": ZPlus(),
            "projection": ZPlus(),
            "convolution": ZBox(),
            "matmul": Uniform(1e-9),
            "attention": Uniform(1e-9),
            "softmax": Pass(),
            "normalisation": PassAfterClone(),
            "activation": Pass(),
            "add": NormalizedAdd(),
            "scale": Pass(),
            "gate": Uniform(1e-9),
            "pooling": GradientTimesInput(),
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
    """
    for name, gamma in (("conv_gamma", conv_gamma), ("linear_gamma", linear_gamma)):
        if not gamma >= 0:
            raise ValueError(f"{name} must be 0 or more, not {gamma!r}")
    if attention_rule not in ("cp", "attnlrp"):
        raise ValueError(f'attention_rule must be "cp" or "attnlrp", not {attention_rule!r}')
    rules: dict[str, Rule] = {
        "convolution": Gamma(conv_gamma) if conv_gamma else Epsilon(1e-6),
        "linear": Gamma(linear_gamma) if linear_gamma else Epsilon(1e-6),
        "normalisation": DetachedNorm(),
        "activation": Pass(),
        "gate": Uniform(),
    }
    if attention_rule == "cp":
        rules |= {"attention": ValuesOnly(), "softmax": StopGradient()}
    else:
        rules |= {"attention": Uniform(), "matmul": Uniform()}
    return Composite("multiplier", rules)


def gradient() -> Composite:
    """No rule at all: every message is the true gradient. For methods that weigh attention by its gradient."""
    return Composite("multiplier", {})
