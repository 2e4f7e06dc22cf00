"""Shapley values of patch tokens: Shapley, "A value for n-person games", 1953, by sampled permutations.

Castro, Gomez and Tejada, "Polynomial calculation of the Shapley value based on sampling", 2009 (permutations); Mitchell
et al., "Sampling permutations for Shapley value estimation", JMLR 2022 (antithetic pairs); Covert, Kim and Lee,
"Learning to estimate Shapley values with vision transformers", ICLR 2023 (removal of tokens by masked attention).
"""

from __future__ import annotations

import math
import operator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .inputs import Target, check_inputs, parse_target, resolve_target
from .token_game import TokenGame, TokenRemovalMethod

__all__ = ["ShapleyValues", "TokenShapley"]


class ShapleyValues(NamedTuple):
    """Estimates and their standard errors on the token grid, (N, 1, h, w) each."""

    values: Tensor
    standard_errors: Tensor


class TokenShapley(TokenRemovalMethod):
    """Shapley values of the patches in the game "the target's logit with only these patches there".

    A patch's value is the mean, over orders in which patches come in, of what the logit gains when it comes. Orders are
    drawn at random, each with its reverse (antithetic pairs), so effects of single patches and of pairs of patches are
    exact after one pair; what is estimated are effects of three and more. Whatever is drawn, the values sum to
    logit(all patches) - logit(no patch). Where all subsets are no more forwards than the samples (grids of some ten
    patches) they are all evaluated, and the values are exact.

    ``attribute`` gives (N, 1, H, W), or (N, 1, h, w) with ``interpolate=None``, signed, in units of the logit;
    :meth:`attribute_with_errors` gives standard errors, too. A pair costs 2 (patches - 1) forwards an image: 390 for a
    grid of 14 x 14. All images get the same orders, so a map does not depend on its batch.

    Parameters
    ----------
    model : nn.Module
        A Vision Transformer with one global token grid, in evaluation mode; it is not changed. In a model without a
        class token, attention over no patch and the mean of none are 0
        (:class:`~quantus_vit.relevance.token_removal.TokenRemoval`).
    num_samples : int
        Pairs of orders.
    seed : int
        Of the orders.
    interpolate : {"bilinear", "bicubic", "nearest", None}
        How patch scores become an image; None gives the token grid.

    Raises
    ------
    ValueError
        ``num_samples`` is not positive.

    Examples
    --------
    >>> values, errors = TokenShapley(model, num_samples=20).attribute_with_errors(images, target=labels)
    """

    def __init__(
        self, model: nn.Module, num_samples: int = 10, seed: int = 0, interpolate: str | None = "bilinear"
    ) -> None:
        super().__init__(model, interpolate)
        if type(num_samples) is not int or num_samples < 1:
            raise ValueError(f"num_samples must be a positive number of pairs of orders, not {num_samples!r}")
        try:
            self.seed = operator.index(seed)
        except TypeError:
            raise ValueError(f"seed must be a whole number, not {seed!r}") from None
        self.num_samples = num_samples

    def attribute_with_errors(
        self, inputs: Tensor, target: Target = None, internal_batch_size: int | None = None
    ) -> ShapleyValues:
        """The values on the token grid, and the standard errors of the sampling.

        Parameters
        ----------
        inputs, target, internal_batch_size
            As for :meth:`attribute`.

        Returns
        -------
        ShapleyValues
            Errors are 0 where all subsets were evaluated, and nan with ``num_samples=1``, which says nothing of them.
        """
        inputs = check_inputs(inputs)
        wanted = parse_target(target, len(inputs))
        found = []
        for i, game in self._games(inputs, (), internal_batch_size):
            classes = resolve_target(None if wanted is None else wanted[i : i + 1], game.logits[None])
            found.append(torch.stack(self._values(game, classes)))
        values, errors = torch.stack(found, 1).to(inputs.dtype)
        return ShapleyValues(values, errors)

    def _map(self, game: TokenGame, classes: Tensor) -> Tensor:
        return self._values(game, classes)[0].to(game.logits.dtype)

    def _values(self, game: TokenGame, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Values and standard errors, (K, h, w) each, in double precision."""
        count = game.places
        if 2**count <= self.num_samples * 2 * max(count - 1, 1) + 2:
            exact = _by_all_subsets(game, classes)
            values, errors = exact, torch.zeros_like(exact)
        else:
            values, errors = self._by_orders(game, classes)
        return values.view(-1, *game.grid), errors.view(-1, *game.grid)

    def _by_orders(self, game: TokenGame, classes: Tensor) -> tuple[Tensor, Tensor]:
        count = game.places
        generator = torch.Generator().manual_seed(self.seed)
        none = next(game.without(torch.ones(1, count, dtype=torch.bool)))[1][:, classes]
        full = game.logits[classes][None]
        mean = squares = torch.zeros(len(classes), count, dtype=torch.float64)
        for number in range(1, self.num_samples + 1):
            order = torch.randperm(count, generator=generator)
            pair = (_gains(game, classes, one, none, full) for one in (order, order.flip(0)))
            gains = sum(pair, torch.zeros_like(mean)) / 2
            before, mean = mean, mean + (gains - mean) / number
            squares = squares + (gains - before) * (gains - mean)
        freedom = self.num_samples - 1
        variance = squares / freedom if freedom else torch.full_like(squares, math.nan)
        return mean.to(full.device), (variance / self.num_samples).sqrt().to(full.device)


def _gains(game: TokenGame, classes: Tensor, order: Tensor, none: Tensor, full: Tensor) -> Tensor:
    """What each patch adds when patches come in one order, (K, places), in double precision on the CPU."""
    count = len(order)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(count))
    masks = rank[None] >= torch.arange(1, count)[:, None]  # row n: the first n + 1 patches are there
    between = [logits[:, classes] for _, logits in game.without(masks)]
    steps = torch.cat([none, *between, full]).double().diff(dim=0).cpu()
    return steps[rank].T


def _by_all_subsets(game: TokenGame, classes: Tensor) -> Tensor:
    """The values by their definition, (K, places), in double precision."""
    count = game.places
    subsets = torch.arange(2**count)[:, None] >> torch.arange(count) & 1  # 1 where a patch is there
    found = torch.cat([logits[:, classes] for _, logits in game.without(subsets == 0)]).double()
    sizes = subsets.sum(1)
    weights = torch.tensor(
        [math.factorial(n) * math.factorial(count - n - 1) / math.factorial(count) for n in range(count)] + [0.0],
        dtype=torch.float64,
        device=found.device,
    )
    values = []
    for patch in range(count):
        absent = (subsets[:, patch] == 0).nonzero()[:, 0]
        gains = found[absent + 2**patch] - found[absent]
        values.append((weights[sizes[absent]].view(-1, 1) * gains).sum(0))
    return torch.stack(values, 1)
