"""Errors of torch that a user's input brings about, said in the user's terms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

__all__ = ["clearer_errors"]


@contextmanager
def clearer_errors(model: nn.Module, inputs: Tensor) -> Iterator[None]:
    """Around the model's forward: what torch raises is said more clearly where it is the input's fault.

    Parameters
    ----------
    model : nn.Module
    inputs : Tensor
        (N, C, H, W), what the model is given.
    """
    try:
        yield
    except RuntimeError as error:
        clearer = _clearer_error(error, model, inputs)
        if clearer is None:
            raise
        raise clearer from error


def _clearer_error(error: RuntimeError, model: nn.Module, inputs: Tensor) -> Exception | None:
    """None where it is not the input's fault."""
    text = str(error)
    dtypes = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if re.search(r"dtype|scalar type|should be the same|same type", text) and dtypes and inputs.dtype not in dtypes:
        wanted = " and ".join(sorted(map(str, dtypes)))
        return TypeError(
            f"inputs are {inputs.dtype} and the model's parameters {wanted}: convert one of them, e.g. "
            f"inputs.to({sorted(map(str, dtypes))[0]})"
        )
    channels = re.search(r"to have (\d+) channels, but got (\d+) channels", text)
    if channels and int(channels.group(2)) == inputs.shape[1]:
        wanted, given = channels.groups()
        hint = "; repeat a grey image with .expand(-1, 3, -1, -1)" if (wanted, given) == ("3", "1") else ""
        return ValueError(f"the model takes images of {wanted} channels, and inputs have {given}{hint}")
    of_inference = next((name for name, p in model.named_parameters() if p.is_inference()), None)
    if of_inference is not None and "inference tensor" in text.lower():
        return ValueError(
            f"the model's parameters ('{of_inference}' and perhaps others) were made under torch.inference_mode, and "
            "no gradient goes through those; make or load the model outside of it"
        )
    if "Inference tensors cannot be saved" in text or "inference tensor" in text.lower():
        return ValueError(
            "the model computes a part of its forward under torch.inference_mode, through which no gradient and no "
            f"relevance goes ({text.split('.')[0]}); use gradients there"
        )
    return None
