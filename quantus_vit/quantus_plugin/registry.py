"""Which name means which explainer: the table of methods.

Knows nothing of Quantus but the names that it keeps for itself; :mod:`.dispatcher` puts the names into Quantus. An
explainer is imported when its name is first used, so that listing the names imports none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

from ..tables import Table
from . import compat

__all__ = [
    "ENTRY_POINT_GROUP",
    "METHODS",
    "Explainer",
    "MethodSpec",
    "MethodTable",
    "available_methods",
    "register_method",
    "unregister_method",
]

ENTRY_POINT_GROUP = "quantus_vit.methods"

Explainer = Callable[..., Any]


@dataclass(frozen=True)
class MethodSpec:
    """A name for ``quantus.explain(..., method=name)`` and what it runs.

    Parameters
    ----------
    name : str
        What a user types.
    source : callable or str
        An explainer, see :func:`register_method`; or where it is, ``"module:attribute"``, to import it at first use.
    summary : str
        One line for help and report.

    Raises
    ------
    TypeError
        ``source`` is no explainer.
    """

    name: str
    source: Explainer | str
    summary: str = ""

    def __post_init__(self) -> None:
        source = self.source
        if isinstance(source, type) and not callable(getattr(source, "attribute", None)):
            raise TypeError(f"the class {source.__name__} for {self.name!r} has no method 'attribute(inputs, target)'")
        if not isinstance(source, str) and not callable(source):
            raise TypeError(
                f"the explainer of {self.name!r} must be a class with an 'attribute' method, a factory or a function, "
                f"not {type(source).__name__}"
            )

    @property
    def is_built_in(self) -> bool:
        """Whether the explainer is a class of this package, under its own name."""
        return self in _BUILT_IN

    def load(self) -> Explainer:
        """Return the explainer, imported now if it was not before.

        Raises
        ------
        ImportError
            What the method needs is not installed.
        """
        if not isinstance(self.source, str):
            return self.source
        try:
            loaded: Explainer = EntryPoint(self.name, self.source, ENTRY_POINT_GROUP).load()
        except ImportError as error:
            raise ImportError(
                f"the method {self.name!r} needs {self.source!r}, which cannot be imported: {error}"
            ) from error
        return loaded


_BUILT_IN = (
    MethodSpec(
        "TransformerLRP",
        "quantus_vit.attribution:TransformerLRP",
        "relevance of attention, weighted by its gradient and rolled out (Chefer et al. 2021)",
    ),
    MethodSpec(
        "AttnLRP",
        "quantus_vit.attribution:AttnLRP",
        "relevance propagated to the pixels by attention-aware rules (Achtibat et al. 2024)",
    ),
    MethodSpec(
        "AttentionRollout",
        "quantus_vit.attribution:AttentionRollout",
        "product of the attention maps of all layers (Abnar and Zuidema 2020)",
    ),
    MethodSpec(
        "GenericAttention",
        "quantus_vit.attribution:GenericAttention",
        "attention times its gradient, rolled out (Chefer et al. 2021)",
    ),
    MethodSpec(
        "LimeCXR",
        "quantus_vit.lime:LimeCXR",
        "LIME with superpixels for radiographs (Ribeiro et al. 2016)",
    ),
    MethodSpec(
        "LibraGrad",
        "quantus_vit.attribution:LibraGrad",
        "input times a gradient that conserves the logit, at every block (Mehri et al. 2025)",
    ),
    MethodSpec(
        "BeyondIntuition",
        "quantus_vit.attribution:BeyondIntuition",
        "how tokens mix, times the integrated gradient of the last attention (Chen et al. 2023)",
    ),
    MethodSpec(
        "LeGrad",
        "quantus_vit.attribution:LeGrad",
        "every layer's own class score, differentiated at its attention (Bousselham et al. 2025)",
    ),
    MethodSpec(
        "TokenTM",
        "quantus_vit.attribution:TokenTM",
        "attention times its gradient and the change of each token, rolled out (Wu et al. 2024)",
    ),
    MethodSpec(
        "PositionalLRP",
        "quantus_vit.attribution:PositionalLRP",
        "relevance of pixels and position embeddings, as the code of PA-LRP runs (Bakish et al. 2025)",
    ),
    MethodSpec(
        "TokenOcclusion",
        "quantus_vit.attribution:TokenOcclusion",
        "fall of the logit when patch tokens are removed, by sliding windows",
    ),
    MethodSpec(
        "TokenShapley",
        "quantus_vit.attribution:TokenShapley",
        "Shapley values of the patch tokens, by removal in sampled orders",
    ),
    MethodSpec(
        "GradCAM",
        "quantus_vit.attribution:GradCAM",
        "features of the patch tokens, weighed by their mean gradient (Selvaraju et al. 2017)",
    ),
)


class MethodTable(Table[MethodSpec]):
    """The methods by name; an entry point of another package loads an explainer, not a spec.

    Attributes
    ----------
    added_to_quantus : set of str
        The names that stand in Quantus' own lists because they are here; the other names there are Quantus' own, and
        taken.
    """

    def __init__(self, specs: Iterable[MethodSpec]) -> None:
        self.added_to_quantus: set[str] = set()
        self._watchers: list[Callable[[], None]] = []
        super().__init__("method", MethodSpec, ENTRY_POINT_GROUP)
        for spec in specs:
            self.add(spec, overwrite=True)  # whatever a later Quantus may call its own

    def add(self, spec: MethodSpec, overwrite: bool = False) -> None:
        """Enter a spec, and tell the watchers; see :meth:`quantus_vit.tables.Table.add`."""
        super().add(spec, overwrite)
        self._notify()

    def remove(self, name: str) -> None:
        """Take a spec out, and tell the watchers; see :meth:`quantus_vit.tables.Table.remove`."""
        super().remove(name)
        self._notify()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have ``watcher`` called after every change."""
        self._watchers.append(watcher)

    def _notify(self) -> None:
        for watcher in self._watchers:
            watcher()

    def _enter(self, name: object, entry: MethodSpec | EntryPoint, overwrite: bool) -> None:
        if not overwrite and name in compat.method_names() - self.added_to_quantus:
            raise ValueError(f"Quantus has a method {name!r} itself; choose another name or pass overwrite=True")
        super()._enter(name, entry, overwrite)

    def _discover(self) -> None:
        known = self._discovered
        super()._discover()
        if not known:
            self._notify()  # a clash is looked for in Quantus, whose import registers the names found until then

    def _load(self, entry: EntryPoint) -> MethodSpec:
        return MethodSpec(entry.name, entry.value)


METHODS = MethodTable(_BUILT_IN)


def register_method(name: str, explainer: Explainer, overwrite: bool = False) -> None:
    """Make ``quantus.explain(..., method=name)`` run an explainer.

    Parameters
    ----------
    name : str
        The name to pass as ``method``.
    explainer : callable
        One of

        - a class in the style of Captum: ``explainer(model, **xai_lib_kwargs).attribute(inputs, target)``;
        - a factory: ``explainer(model, **xai_lib_kwargs)`` returns an object with such an ``attribute``;
        - a function in the style of Quantus: ``explainer(model, inputs, targets, **kwargs)``, recognised by a parameter
          called ``inputs`` or by three parameters without a default.

        The result is a tensor or an array of shape (N, C, H, W) or (N, 1, H, W); of volumes with D before H.
    overwrite : bool
        Replace a method of that name, be it of this package, of another one or of Quantus.

    Raises
    ------
    ValueError
        The name is taken.
    TypeError
        ``explainer`` is none of the three, or the name is no non-empty string.
    """
    if isinstance(explainer, str):
        raise TypeError(f"the explainer of {name!r} must be a class, a factory or a function, not {explainer!r}")
    METHODS.add(MethodSpec(name, explainer), overwrite)


def unregister_method(name: str) -> None:
    """Take a method out again; a method of Quantus that it replaced comes back.

    Parameters
    ----------
    name : str
        As it was registered.

    Raises
    ------
    ValueError
        There is no method of that name.
    """
    METHODS.remove(name)


def available_methods() -> list[str]:
    """Return the names that this package adds to ``quantus.explain``, those of other packages' entry points too.

    Returns
    -------
    list of str
        This package's own first.
    """
    return METHODS.names()
