"""LibraGrad: Mehri et al., CVPR 2025.

"LibraGrad: balancing gradient flow for universally better Vision Transformer attributions".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor, nn

from ..relevance import Trace, TraceOptions, trace
from ..relevance.biases import BiasTerms
from ..relevance.composites import gradient_by_rules, libra_grad
from ..relevance.placed_biases import PlacedBiases
from ..relevance.places import Places, UnplacedError
from .base import PropagationMethod, own_modes, require_relevance
from .batches import images_at_once, in_parts
from .blocks import check_blocks, token_blocks
from .grid import check_interpolation
from .inputs import check_inputs, one_hot, parse_target, resolve_target
from .rollout import at_least_single, check_start_layer
from .stage_maps import StageMaps, channel_dimension

__all__ = ["AGGREGATIONS", "SEEDS", "Aggregation", "LibraGrad"]


@dataclass(frozen=True)
class Aggregation:
    """How block inputs x and the target's gradients g there become one map.

    ``term`` is what a block gives at each token t: ``"cat"`` sum_c x g, ``"attcat"`` the same times the attention that
    the token got in the block below, ``"gradcam"`` sum_c x mean_t(g), ``"xgradcam"`` sum_c x w with
    w = sum_t(g |x|) / sum_t |x|. ``blocks`` are summed over; ``biases`` of all that lies above are added once, or with
    each block.
    """

    term: Literal["cat", "attcat", "gradcam", "xgradcam"]
    blocks: Literal["first", "last", "all"]
    biases: Literal["none", "once", "each"] = "none"


AGGREGATIONS: Mapping[str, Aggregation] = MappingProxyType(
    {
        "ixg": Aggregation("cat", "first"),
        "hirescam": Aggregation("cat", "last"),
        "plus": Aggregation("cat", "all"),
        "fullgrad": Aggregation("cat", "first", "once"),
        "fullgrad+": Aggregation("cat", "all", "once"),
        "fullgrad-plus": Aggregation("cat", "all", "each"),
        "attcat": Aggregation("attcat", "all"),
        "gradcam": Aggregation("gradcam", "last"),
        "gradcam-plus": Aggregation("gradcam", "all"),
        "xgradcam+": Aggregation("xgradcam", "last"),
        "xgradcam+-plus": Aggregation("xgradcam", "all"),
    }
)
SEEDS = ("logit", "probability")


class LibraGrad(PropagationMethod):
    """Input times gradient at the inputs of the attention blocks, with a gradient that conserves the logit.

    The backward pass treats as constants: attention weights, deviations of normalisations, gates of activations (GELU,
    SiLU); of a product of two activations, as in gated MLPs, each factor gets half of the gradient. Then inputs times
    gradients and biases times gradients sum to the logit at every depth (``"fullgrad"``).

    With x_l the residual stream entering block l, g_l the gradient there, CAT_l[t] = sum_c x_l[t, c] g_l[t, c] and B_l
    the biases' part of everything from block l to the head:

    ==================  =========================================================================================
    ``ixg``             CAT_s, s = ``start_block``
    ``hirescam``        CAT of the last block's input
    ``plus``            sum of CAT_l over l >= s
    ``fullgrad``        CAT_s + B_s
    ``fullgrad+``       sum of CAT_l over l >= s, + B_s (biases once)
    ``fullgrad-plus``   sum of CAT_l + B_l over l >= s
    ``attcat``          sum of a_l CAT_(l+1) over l >= s; a_l[t] is the mean attention that token t gets in block l
    ``gradcam``         sum_c x[t, c] mean_t(g[t, c]) at the last block's input; ``gradcam-plus``: summed over l >= s
    ``xgradcam+``       likewise with the weights sum_t(g |x|) / sum_t |x|; ``xgradcam+-plus``: summed over l >= s
    ==================  =========================================================================================

    ``attribute`` gives (N, 1, H, W), signed, or the token grid (N, 1, h, w) with ``interpolate=None``; :meth:`tokens`
    gives all tokens. A bias that is added to no token (the head's) counts at the tokens that the logits are read from.

    Pyramids (Swin, PVT, Hiera, MViT) have a grid a stage: each stage's map is interpolated to the image by itself, then
    they are summed; without interpolation coarser maps are repeated on the finest grid. Where a model holds its tokens
    in another order than that of the image, or biases in windows, a second forward follows every token's place.

    Parameters
    ----------
    model : nn.Module
        Any model with attention in residual blocks, in evaluation mode; it is not changed.
    aggregation : str
        A name of the table above.
    seed : {"logit", "probability"}
        What is differentiated: the target's logit or its softmax probability (the authors' default).
    start_block : int
        First block that counts; half of the depth gives the authors' "Skip" variants. Aggregations that look at the
        last block alone do not depend on it.
    libra : bool
        False: the ordinary gradient in place of LibraGrad's.
    interpolate : {"bilinear", "bicubic", "nearest", None}
        How token scores become an image; None gives the token grid.

    Raises
    ------
    ValueError
        An unknown aggregation, seed or interpolation, or a negative ``start_block``.

    Examples
    --------
    >>> maps = LibraGrad(model).attribute(images, target=labels)
    """

    def __init__(
        self,
        model: nn.Module,
        aggregation: str = "fullgrad+",
        seed: str = "logit",
        start_block: int = 0,
        libra: bool = True,
        interpolate: str | None = "bilinear",
    ) -> None:
        super().__init__(model)
        if aggregation not in AGGREGATIONS:
            raise ValueError(f"aggregation must be one of {', '.join(AGGREGATIONS)}, not {aggregation!r}")
        if seed not in SEEDS:
            raise ValueError(f'seed must be "logit" or "probability", not {seed!r}')
        check_start_layer(start_block, "start_block")
        check_interpolation(interpolate)
        self.aggregation, self.seed, self.start_block = aggregation, seed, start_block
        self.libra, self.interpolate = libra, interpolate

    @property
    def multiplies_by_inputs(self) -> bool:
        """True: every map is of inputs times gradients."""
        return True

    def tokens(self, inputs: Tensor, target: Any = None) -> Tensor:
        """The relevance of all tokens, (N, T), those before the patches (class, distillation, registers) included.

        Parameters and errors are those of :meth:`attribute`; a model with several token grids is a ``ValueError``.

        Parameters
        ----------
        inputs : Tensor
            (N, C, H, W).
        target : int, list, Tensor or None
            As for :meth:`attribute`.

        Returns
        -------
        Tensor
            Signed, (N, T).
        """
        inputs = check_inputs(inputs)
        self.check_model(inputs)
        targets = parse_target(target, len(inputs))

        def explain(part: slice) -> Tensor:
            with own_modes():
                traced = self._trace(inputs[part], ())
                chosen = resolve_target(None if targets is None else targets[part], traced.logits)
                return self._sums(traced, [chosen], inputs[part])[0].tokens()

        return in_parts(explain, inputs, images_at_once(self.model, inputs, (), None), targets)

    def _trace(self, inputs: Tensor, forward_args: tuple[Any, ...]) -> Trace:
        traced = self._traced(inputs, forward_args)
        if traced.grid is not None and not traced.grid.in_order:
            traced = self._traced(inputs, forward_args, places=True)
        if AGGREGATIONS[self.aggregation].term == "attcat":
            token_blocks(traced, inputs)
        return traced

    def _traced(self, inputs: Tensor, forward_args: tuple[Any, ...], places: bool = False) -> Trace:
        """The forward; with places, for models that do not hold their tokens as rows of the image's grids."""
        how = AGGREGATIONS[self.aggregation]
        composite = (libra_grad if self.libra else gradient_by_rules)(how.biases != "none")
        options = TraceOptions(composite, arguments=forward_args, gradients=False, grid=True, blocks=True)
        options = replace(options, places=places)
        if how.term == "attcat":
            options = replace(options, keep_weights=True, reduce_weights=lambda weights: weights.mean((1, 2)))
        traced = trace(self.model, inputs, options)
        check_blocks(traced.blocks, self.start_block)
        if not traced.attentions:
            raise ValueError(
                "no attention layer was seen: its weights change their shape or are masked after the softmax, before "
                "they are multiplied with the values; use AttnLRP"
            )
        return traced

    def _maps(self, traced: Trace, targets: list[Tensor], inputs: Tensor) -> list[Tensor]:
        try:
            return [maps.image(traced, inputs, self.interpolate) for maps in self._sums(traced, targets, inputs)]
        except UnplacedError:
            if traced.places is not None:
                raise
        traced = self._traced(inputs, traced.forward_args, places=True)
        return [maps.image(traced, inputs, self.interpolate) for maps in self._sums(traced, targets, inputs)]

    def _sums(self, traced: Trace, targets: list[Tensor], inputs: Tensor) -> list[StageMaps]:
        """One sum over the blocks for each target; every target goes past a block before any goes past the next."""
        how, blocks = AGGREGATIONS[self.aggregation], traced.blocks
        lowest = len(blocks) - 1 if how.blocks == "last" else self.start_block + (how.term == "attcat")
        pyramid = len({block.input.shape for block in blocks}) > 1
        sums = [_Sum(how, self.start_block, inputs, pyramid, traced.places) for _ in targets]
        messages: list[Tensor] = [self._seed(target, traced.logits) for target in targets]
        upper, top = traced.output, blocks[-1].output
        ends = [block.input for block in blocks[lowest:]] + ([] if top is None else [top])
        for index, end in reversed(list(enumerate(ends, lowest))):
            channels = channel_dimension(end, inputs, traced.places)
            weights = traced.attentions[index - 1].weights if how.term == "attcat" else None
            for number, one in enumerate(sums):
                biases = one.biases.at(end, channels) if how.biases != "none" else None
                keep = number < len(sums) - 1
                messages[number] = require_relevance(traced.between(upper, end, messages[number], keep, on_node=biases))
                if biases is not None:
                    biases.read_out(messages[number])
                if index < len(blocks):
                    one.add(index, end, messages[number], channels, weights)
            upper = end
        return [one.maps for one in sums]

    def _seed(self, target: Tensor, logits: Tensor) -> Tensor:
        """(N, classes): gradient of what is explained with respect to the logits."""
        seed = one_hot(target, logits)
        if self.seed == "logit":
            return seed
        probabilities = logits.softmax(1)
        return (seed - probabilities) * (seed * probabilities).sum(1, keepdim=True)


class _Sum:
    """One target's maps as its gradient arrives at block inputs, from the last to the first."""

    def __init__(self, how: Aggregation, first: int, inputs: Tensor, pyramid: bool, places: Places | None) -> None:
        self.maps = StageMaps(pyramid, placed=places is not None)
        self.biases = BiasTerms(inputs) if places is None else PlacedBiases(places, len(inputs))
        self._how, self._first, self._places, self._images = how, first, places, len(inputs)

    def add(self, index: int, x: Tensor, gradient: Tensor, channels: int, weights: Tensor | None) -> None:
        """Take the gradient at the input x of the block with this index."""
        if self._how.blocks != "first" or index == self._first:
            values, gradient = at_least_single(x.detach()), at_least_single(gradient)
            term = (values * _weights(self._how.term, values, gradient, channels)).sum(channels)
            term = term if weights is None else term * weights
            if self._places is not None:
                term = self._places.of_tensor(x, channels).scatter(term, self._images)
            self.maps.add(term)
        if self._how.biases == "each" or (self._how.biases == "once" and index == self._first):
            self.maps.add_all(self.biases.placed())


def _weights(term: str, x: Tensor, gradient: Tensor, channels: int) -> Tensor:
    """What the input is multiplied with, (N, T, C) or (N, 1, C)."""
    tokens = [d for d in range(1, x.dim()) if d != channels]
    if term == "gradcam":
        return gradient.mean(tokens, keepdim=True)
    if term == "xgradcam":
        size = x.abs()
        return (gradient * size).sum(tokens, keepdim=True) / (size.sum(tokens, keepdim=True) + 1e-7)
    return gradient
