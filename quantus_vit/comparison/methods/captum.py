"""Methods of Captum, through Quantus where Quantus can pass what they need.

Quantus hands Captum's Occlusion a window and no strides, so that it moves by single pixels (50,000 forwards at 224
pixels), and its KernelShap no feature mask, so that every value of the image is a feature. For these two Captum's own
classes are called: windows that move by a window, and the superpixels of LimeCXR.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol import ExplainOptions
from .base import ControlInputs, MethodSpec
from .lime import replacement_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

__all__ = ["SPECS"]

_CAPTUM = ("captum",)
_AT_ONCE = 32
"""Perturbed images a forward."""


def _occlusion(
    inputs: ControlInputs, replacement: Any, window: int = 32, stride: int | None = None
) -> npt.NDArray[np.float32]:
    """Drops of the logit, each spread evenly over its window."""
    from captum.attr import Occlusion

    from ...lime.replacement import replace
    from ...lime.segmentation import grid_segments

    channels, height, width = inputs.image.shape
    if not 1 <= window <= min(height, width):
        raise ValueError(f"window must be from 1 to {min(height, width)} pixels, the image's side, not {window!r}")
    step = window if stride is None else stride
    tiles = grid_segments((height, width), (window, window))
    relevance = Occlusion(inputs.module).attribute(
        inputs.placed(inputs.image),
        sliding_window_shapes=(channels, window, window),
        strides=(channels, step, step),
        baselines=inputs.placed(replace(inputs.image, tiles, replacement)),
        target=inputs.target,
        perturbations_per_eval=_AT_ONCE,
    )
    return _one_channel(relevance)


def _kernel_shap(
    inputs: ControlInputs, replacement: Any, num_samples: int, num_segments: int | None = None
) -> npt.NDArray[np.float32]:
    """Shapley values of superpixels, each spread evenly over its pixels' values."""
    import numpy as np
    import torch
    from captum.attr import KernelShap

    from ...lime import cxr_segments
    from ...lime.replacement import replace

    segments = cxr_segments(inputs.image, **({} if num_segments is None else {"num_segments": num_segments}))
    image = inputs.placed(inputs.image)
    with torch.random.fork_rng(devices=[]):  # Captum draws from torch's global generator
        torch.manual_seed(int(np.random.SeedSequence(inputs.seed).generate_state(1)[0]))
        relevance = KernelShap(inputs.module).attribute(
            image,
            baselines=inputs.placed(replace(inputs.image, segments, replacement)),
            target=inputs.target,
            feature_mask=torch.from_numpy(segments)[None, None].to(image.device),
            n_samples=num_samples,
            perturbations_per_eval=_AT_ONCE,
        )
    return _one_channel(relevance)


def _one_channel(relevance: torch.Tensor) -> npt.NDArray[np.float32]:
    """The mean over channels, ``(1, H, W)``: a part's drop stands in all of its values."""
    import numpy as np

    return np.asarray(relevance[0].mean(0, keepdim=True).detach().cpu().numpy(), dtype=np.float32)


def _replaced(given: ExplainOptions) -> dict[str, Any]:
    return {"replacement": replacement_of(given)}


def _sampled(given: ExplainOptions) -> dict[str, Any]:
    return {"replacement": replacement_of(given), "num_samples": given.lime_samples}


SPECS = (
    MethodSpec("Saliency", "magnitude of the gradient (Simonyan et al., 2014)", sign="positive", packages=_CAPTUM),
    MethodSpec("Gradient", "gradient, as Quantus names it", packages=_CAPTUM),
    MethodSpec("InputXGradient", "input x gradient (Shrikumar et al., 2016)", packages=_CAPTUM),
    MethodSpec(
        "IntegratedGradients",
        "gradients on the way from a baseline (Sundararajan et al., 2017)",
        packages=_CAPTUM,
        complete=True,
    ),
    MethodSpec(
        "GradientShap",
        "gradients at noisy points on the way from baselines (Lundberg and Lee, 2017)",
        packages=_CAPTUM,
        complete=True,
    ),
    MethodSpec("DeepLift", "differences from a baseline (Shrikumar et al., 2017)", packages=_CAPTUM, complete=True),
    MethodSpec(
        "Occlusion",
        "drop of the score under a window of 32 pixels that moves by its own size (Zeiler and Fergus, 2014)",
        packages=(*_CAPTUM, "lime", "skimage", "sklearn"),
        options=_replaced,
        removes=True,
        make=_occlusion,
    ),
    MethodSpec(
        "KernelShap",
        "Shapley values of LimeCXR's superpixels, by weighted regression (Lundberg and Lee, 2017)",
        packages=(*_CAPTUM, "lime", "skimage", "sklearn"),
        options=_sampled,
        removes=True,
        make=_kernel_shap,
    ),
    MethodSpec(
        "FeatureAblation",
        "drop of the score without each value; as many forwards as values",
        packages=_CAPTUM,
        removes=True,
    ),
    MethodSpec("Lime", "Captum's own LIME, over single values", packages=_CAPTUM, removes=True),
    MethodSpec("Control Var. Sobel Filter", "edges of the image, by Quantus", role="control", packages=_CAPTUM),
)
