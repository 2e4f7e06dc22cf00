"""The operations of a Vision Transformer, each with two backward meanings: gradient and relevance."""

from .affine import Affine, Convolution, Linear, Projection
from .base import Messages, Operation, Sources, divide, reduce_to
from .function import Activation, FunctionOperation, Gelu, Pooling
from .normalisation import LayerNorm, Normalisation, Softmax
from .products import Contraction, Gate, Product
from .sums import Add, Scale

__all__ = [
    "Activation",
    "Add",
    "Affine",
    "Contraction",
    "Convolution",
    "FunctionOperation",
    "Gate",
    "Gelu",
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
