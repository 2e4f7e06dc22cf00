"""Of Quantus' Captum methods, those that need no layer, no constant and no convolution."""

from __future__ import annotations

from .base import MethodSpec

__all__ = ["SPECS"]

_CAPTUM = ("captum",)

SPECS = (
    MethodSpec("Saliency", "magnitude of the gradient (Simonyan et al., 2014)", sign="positive", packages=_CAPTUM),
    MethodSpec("Gradient", "gradient, as Quantus names it", packages=_CAPTUM),
    MethodSpec("InputXGradient", "input x gradient (Shrikumar et al., 2016)", packages=_CAPTUM),
    MethodSpec(
        "IntegratedGradients", "gradients on the way from a baseline (Sundararajan et al., 2017)", packages=_CAPTUM
    ),
    MethodSpec(
        "GradientShap", "gradients at noisy points on the way from baselines (Lundberg and Lee, 2017)", packages=_CAPTUM
    ),
    MethodSpec("DeepLift", "differences from a baseline (Shrikumar et al., 2017)", packages=_CAPTUM),
    MethodSpec(
        "Occlusion",
        "drop of the score under a sliding window (Zeiler and Fergus, 2014)",
        packages=_CAPTUM,
        removes=True,
    ),
    MethodSpec(
        "FeatureAblation",
        "drop of the score without each value; as many forwards as values",
        packages=_CAPTUM,
        removes=True,
    ),
    MethodSpec("Lime", "Captum's own LIME, over single values", packages=_CAPTUM, removes=True),
    MethodSpec("KernelShap", "Captum's own KernelSHAP, over single values", packages=_CAPTUM, removes=True),
    MethodSpec("Control Var. Sobel Filter", "edges of the image, by Quantus", role="control", packages=_CAPTUM),
)
