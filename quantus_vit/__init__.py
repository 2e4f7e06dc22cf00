"""Layer-wise relevance propagation for Vision Transformers, for Quantus and Captum.

With both imported, in whatever order, the methods of this package are names in ``quantus.explain``, see
:func:`register`. Importing this package alone is cheap: its parts, torch and Quantus with them, are imported when one
of its names is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .errors import UnsupportedOperationError
from .import_hook import AfterImport as _AfterImport

if TYPE_CHECKING:
    from . import data, metrics, pictures
    from .attribution import (
        AttentionRollout,
        AttnLRP,
        BeyondIntuition,
        GenericAttention,
        GradCAM,
        LeGrad,
        LibraGrad,
        PositionalLRP,
        TokenOcclusion,
        TokenShapley,
        TokenTM,
        TransformerLRP,
    )
    from .lime import LimeCXR
    from .models import Classifier, load_model
    from .pictures import show, visualize
    from .quantus_plugin import available_methods, register, register_method, unregister, unregister_method
    from .quantus_plugin.gradients import GradientEnabled, gradients_enabled
    from .targets import RegionTarget, TextTargets

__all__ = [
    "AttentionRollout",
    "AttnLRP",
    "BeyondIntuition",
    "Classifier",
    "GenericAttention",
    "GradCAM",
    "GradientEnabled",
    "LeGrad",
    "LibraGrad",
    "LimeCXR",
    "PositionalLRP",
    "RegionTarget",
    "TextTargets",
    "TokenOcclusion",
    "TokenShapley",
    "TokenTM",
    "TransformerLRP",
    "UnsupportedOperationError",
    "__version__",
    "available_methods",
    "data",
    "gradients_enabled",
    "load_model",
    "metrics",
    "pictures",
    "register",
    "register_method",
    "show",
    "unregister",
    "unregister_method",
    "visualize",
]

# Where each public name lives; a submodule stands for itself.
_MODULES = {
    "AttentionRollout": ".attribution",
    "AttnLRP": ".attribution",
    "BeyondIntuition": ".attribution",
    "GenericAttention": ".attribution",
    "GradCAM": ".attribution",
    "LeGrad": ".attribution",
    "LibraGrad": ".attribution",
    "PositionalLRP": ".attribution",
    "TokenOcclusion": ".attribution",
    "TokenShapley": ".attribution",
    "TokenTM": ".attribution",
    "TransformerLRP": ".attribution",
    "LimeCXR": ".lime",
    "Classifier": ".models",
    "load_model": ".models",
    "RegionTarget": ".targets",
    "TextTargets": ".targets",
    "GradientEnabled": ".quantus_plugin.gradients",
    "gradients_enabled": ".quantus_plugin.gradients",
    "available_methods": ".quantus_plugin",
    "register": ".quantus_plugin",
    "register_method": ".quantus_plugin",
    "unregister": ".quantus_plugin",
    "unregister_method": ".quantus_plugin",
    "data": ".data",
    "metrics": ".metrics",
    "pictures": ".pictures",
    "show": ".pictures",
    "visualize": ".pictures",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module_name = _MODULES[name]
    if module_name.startswith(".quantus_plugin"):
        _when_quantus_is_imported.fire()  # the names of other packages' methods are known once this has run
    module = importlib.import_module(module_name, __name__)
    value = module if module_name == f".{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _register_on_import() -> None:
    from .quantus_plugin.dispatcher import register_on_import

    register_on_import()


_when_quantus_is_imported = _AfterImport("quantus", _register_on_import)
