"""What a method is to a comparison: one record with its text, sign, needs and options, in one table.

Help, validation, the runner and the report read the record. Knows the run's options; imports neither Quantus nor torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...tables import Table
from ..calls import Call
from ..protocol import ExplainOptions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from torch import nn

__all__ = ["METHODS", "ControlInputs", "MethodNeed", "MethodSpec", "Role", "Sign", "method_spec", "options_of"]

Role = Literal["method", "control"]
Sign = Literal["signed", "positive"]
MethodNeed = Literal["other class", "mask"]
"""What a method needs of model and data: a second output to explain; the mask that its option names, or lungs'."""


@dataclass(frozen=True)
class ControlInputs:
    """What a control, or a method that is no name of ``quantus.explain``, may look at to make the map of an image.

    Parameters
    ----------
    module : torch.nn.Module
        The model.
    image : numpy.ndarray
        float32 ``(C, H, W)``, as the model takes it; for metrics that call a method again the changed image.
    target : int
        The explained output.
    masks : mapping of str to numpy.ndarray
        Finding or organ -> bool ``(1, H, W)``, of the unchanged image.
    seed : tuple of int
        The protocol's seed and one of the image's own, for ``numpy.random.default_rng``.
    calls : int
        How many maps the control has made of this image in this call of a metric; 0 for the map itself.
    map_of : callable
        ``map_of(label, target)`` is another method's map ``(1, H, W)`` of the unchanged image, from the run's store.
    """

    module: nn.Module
    image: npt.NDArray[np.float32]
    target: int
    masks: Mapping[str, npt.NDArray[np.bool_]]
    seed: tuple[int, ...]
    calls: int
    map_of: Callable[[str, int], npt.NDArray[np.float32]]

    def placed(self, pixels: npt.NDArray[np.float32]) -> torch.Tensor:
        """An image ``(C, H, W)`` as the model takes it: ``(1, C, H, W)`` on its device.

        Parameters
        ----------
        pixels : numpy.ndarray
            float32 ``(C, H, W)``.

        Returns
        -------
        torch.Tensor
        """
        import torch

        from ...quantus_plugin.model_state import device_of

        return torch.from_numpy(pixels)[None].to(device_of(self.module))


def no_options(given: ExplainOptions) -> dict[str, Any]:
    """No options: those of the method's own."""
    return {}


@dataclass(frozen=True)
class MethodSpec:
    """A method of the table.

    Parameters
    ----------
    name : str
        As users type it and tables show it. A name of ``quantus.explain``, unless ``make`` is given.
    summary : str
        One line on what the map is.
    role : str
        "method", or "control": what a method must beat to say anything.
    sign : str
        "signed": negative relevance speaks against the class. "positive": there is none.
    packages : tuple of str
        Names of packages that it imports beside this package's dependencies.
    options : callable
        From the run's options to ``xai_lib_kwargs`` of ``quantus.explain``; brackets behind the name add to them.
    removes : bool
        Whether it replaces parts of the image by itself, as LIME does, so that its scores depend on how well its
        removal and the metric's agree.
    complete : bool
        Whether its values claim to add up to the fall of the logit from the image to an image of zeros.
    of_another : bool
        Whether it is made of another method's map, of the unchanged image and model.
    lower_precision : bool
        Whether the protocol's ``precision`` is for its forward passes: they are many, and noisy anyway.
    make : callable or None
        Makes the map ``(1, H, W)`` itself, ``make(inputs, **options)``, see :class:`ControlInputs`; for controls, and
        where ``quantus.explain`` cannot pass what a method needs.
    needs : frozenset of str
        See :data:`MethodNeed`. Where model and data lack it, a protocol's own list goes without the method; an image
        without the mask has no score by it.
    """

    name: str
    summary: str
    role: Role = "method"
    sign: Sign = "signed"
    packages: tuple[str, ...] = ()
    options: Callable[[ExplainOptions], Mapping[str, Any]] = no_options
    removes: bool = False
    complete: bool = False
    of_another: bool = False
    lower_precision: bool = False
    make: Callable[..., npt.NDArray[np.float32]] | None = None
    needs: frozenset[MethodNeed] = frozenset()

    def mask(self, options: Mapping[str, Any]) -> str | None:
        """Finding or organ whose mask the map is made of, by the options; None where it needs no mask.

        Parameters
        ----------
        options : mapping of str to Any
            Of the call.

        Returns
        -------
        str or None
        """
        return str(options.get("mask", "lung")) if "mask" in self.needs else None


METHODS: Table[MethodSpec] = Table("method", MethodSpec)
"""What is known of methods; filled by the modules of this folder. A name that ``quantus.explain`` knows and this table
does not, such as one that :func:`quantus_vit.register_method` added, is compared all the same, with a plain record."""


def method_spec(name: str, registered: tuple[str, ...]) -> MethodSpec:
    """Record of a method.

    Parameters
    ----------
    name : str
    registered : tuple of str
        What :func:`quantus_vit.available_methods` lists.

    Returns
    -------
    MethodSpec

    Raises
    ------
    ValueError
        Nobody knows the name; the message lists those that there are.
    """
    if name in METHODS or name not in registered:
        return METHODS[name]
    return MethodSpec(name, "registered with quantus_vit.register_method")


def options_of(call: Call, spec: MethodSpec, given: ExplainOptions) -> dict[str, Any]:
    """All options of a call: those that the run gives the method, then those in the call's brackets.

    Parameters
    ----------
    call : Call
    spec : MethodSpec
    given : ExplainOptions
        Of the run.

    Returns
    -------
    dict of str to Any
    """
    return {**spec.options(given), **call.options}
