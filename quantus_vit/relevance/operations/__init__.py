"""The operations of a Vision Transformer, each with two backward meanings: gradient and relevance."""

from .affine import Affine, Convolution, Linear, Projection
from .base import Messages, Operation, Sources, divide, reduce_to
from .given import Activation, Gelu, Given, Pooling
from .normalisation import LayerNorm, Normalisation, Softmax
from .products import Contraction, Gate, Product
from .sums import Add, Scale

__all__ = [
    "Activation",
    "Add",
    "Affine",
    "Contraction",
    "Convolution",
    "Gate",
    "Gelu",
    "Given",
    "LayerNorm",
    "Linear",
    "Messages",
    "Normalisation",
    "Operation",
    "Pooling",
    "Product",
    "Projection",
    "Scale",
    "Softmax",
    "Sources",
    "divide",
    "reduce_to",
]
