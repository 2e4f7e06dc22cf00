"""timm models by name and arguments: which arguments may come from a file, and what timm says about the others.

Knows timm, which is imported when a model is built.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..data.preprocessing import Preprocessing

__all__ = ["MODEL_KWARGS", "build_timm_model", "check_model_kwargs", "check_takes_images", "check_timm_name"]

# fmt: off
MODEL_KWARGS: frozenset[str] = frozenset((
    "act_layer", "class_token", "depth", "depths", "dynamic_img_pad", "dynamic_img_size", "embed_dim", "embed_dims",
    "fc_norm", "final_norm", "global_pool", "init_values", "mlp_ratio", "no_embed_class", "norm_layer", "num_heads",
    "patch_size", "pre_norm", "proj_bias", "qk_norm", "qkv_bias", "reg_tokens", "scale_attn_norm", "scale_mlp_norm",
    "strict_img_size", "use_abs_pos_emb", "use_rel_pos_bias", "use_rot_pos_emb", "window_size", "attn_drop_rate",
    "drop_path_rate", "drop_rate", "patch_drop_rate", "pos_drop_rate", "proj_drop_rate",
))
# fmt: on
"""Arguments of ``timm.create_model`` that shape a network and do nothing else.

Others can read files: timm up to 1.0.25 loads the pickle that ``checkpoint_path`` names, and runs what is in it.
"""


def check_model_kwargs(values: object) -> None:
    """Refuse arguments that are not known to be harmless.

    Parameters
    ----------
    values : mapping
        From names of :data:`MODEL_KWARGS` to numbers, booleans, None, short words, or lists of numbers.

    Raises
    ------
    TypeError, ValueError
        No mapping, an unknown name or a value that is none of these; the message names it.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"model_kwargs must be a mapping, got {values!r}")
    for name, value in values.items():
        if name not in MODEL_KWARGS:
            raise ValueError(f"model_kwargs cannot set {name!r}; there are: {', '.join(sorted(MODEL_KWARGS))}")
        numbers = value if isinstance(value, list | tuple) else [value]
        if isinstance(value, str):
            fits = value.isidentifier() or not value
        else:
            fits = value is None or all(isinstance(number, int | float) and 0 <= number < 10**6 for number in numbers)
        if not fits:
            raise ValueError(f"model_kwargs has a number, boolean, word or list of numbers for {name}, not {value!r}")


def check_timm_name(name: str) -> None:
    """Refuse what is no name of a timm model.

    Raises
    ------
    ValueError
        With similar names.
    """
    import timm  # takes seconds, which --help and --version should not

    if timm.is_model(name):
        return
    similar = difflib.get_close_matches(name, timm.list_models(), n=3)
    hint = f"; similar names: {', '.join(similar)}" if similar else "; timm.list_models('*vit*') lists names"
    raise ValueError(f"timm {timm.__version__} has no model {name!r}{hint}")


def check_takes_images(model: nn.Module, preprocessing: Preprocessing) -> None:
    """Try a model on one black image, so that a wrong size shows before any work is done.

    Raises
    ------
    ValueError
        In the model's own words.
    """
    rows, columns = preprocessing.size
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if isinstance(patch, tuple) and (rows % patch[0] or columns % patch[1]):
        # Some models cut the rest off without a word, and maps would not lie where they belong.
        raise ValueError(
            f"{type(model).__name__} does not take images of {rows} x {columns} pixels: its patches of {patch[0]} x "
            f"{patch[1]} do not fill them"
        )
    images = torch.zeros(1, preprocessing.channels, rows, columns)
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(images)
    except (AssertionError, RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{type(model).__name__} does not take images of {rows} x {columns} pixels with {preprocessing.channels} "
            f"channels: {reason}"
        ) from error
    finally:
        model.train(was_training)


def build_timm_model(name: str, pretrained: bool = False, **arguments: Any) -> nn.Module:
    """Call ``timm.create_model`` and say in words what it refuses.

    Parameters
    ----------
    name : str
        Of a timm model, with or without a tag such as ".augreg_in1k".
    pretrained : bool
        Ask timm for its pretrained weights; needs a network, or timm's cache.
    **arguments
        Those that a user or a file gave went through :func:`check_model_kwargs`.

    Returns
    -------
    torch.nn.Module
        In training mode, on the CPU.

    Raises
    ------
    ValueError
        If timm does not know the name, the model does not take the arguments, or pretrained weights cannot be had.
    """
    import timm

    check_timm_name(name)
    try:
        model: nn.Module = timm.create_model(name, pretrained=pretrained, **arguments)
    except Exception as error:  # whatever a model's constructor, or the way to the hub, raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if pretrained and isinstance(error, OSError | RuntimeError) and not isinstance(error, NotImplementedError):
            raise ValueError(
                f"no pretrained weights for {name!r}, is there a network? Without one, give a file: "
                f"`train --weights FILE`, or the model timm:{name}@FILE; `train --weights none` starts from scratch "
                f"({reason})"
            ) from error
        raise ValueError(f"timm cannot build {name!r} with {arguments}: {reason}") from error
    return model
