"""How relevance goes through an operation: a rule is a small class that states its formula and nothing else.

A rule's :meth:`Rule.propagate` gets the operation (inputs, output, transposed maps) and the message from above, and
returns one message per input. Messages are relevances R, or multipliers m = R / activation, as the composite says; the
operation's helpers ``ratio`` and ``to_input_message`` serve both, so that a formula is written once.

In the formulas x is the input, z = x W the output without bias, R the relevance of the output.

References
----------
Bach et al., "On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation",
PLoS ONE 2015. Montavon et al., "Layer-wise relevance propagation: an overview", 2019. Chefer, Gur and Wolf,
"Transformer interpretability beyond attention visualization", CVPR 2021. Ali et al., "XAI for Transformers: better
explanations through conservative propagation", ICML 2022 (CP-LRP). Achtibat et al., "AttnLRP: attention-aware
layer-wise relevance propagation for transformers", ICML 2024. Mehri et al., "LibraGrad: balancing gradient flow for
universally better Vision Transformer attributions", CVPR 2025.
"""

from .affine import Epsilon, Gamma, ZBox, ZPlus
from .base import Rule
from .basic import GradientTimesInput, Pass, PassAfterClone, StopGradient
from .normalisation import ConstantNormaliser, DetachedGate, DetachedNorm
from .products import Uniform, ValuesOnly
from .sums import NormalizedAdd

__all__ = [
    "ConstantNormaliser",
    "DetachedGate",
    "DetachedNorm",
    "Epsilon",
    "Gamma",
    "GradientTimesInput",
    "NormalizedAdd",
    "Pass",
    "PassAfterClone",
    "Rule",
    "StopGradient",
    "Uniform",
    "ValuesOnly",
    "ZBox",
    "ZPlus",
]
