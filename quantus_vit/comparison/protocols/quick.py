"""``quick``: the default. A comparison of relevance, LIME and chance that ends in two to three minutes on two cores.

LIME replaces superpixels by what the metric puts in place of removed values: with two different removals the metric
scores how well these agree, before it says anything of the map.
"""

from __future__ import annotations

from .base import ProtocolSpec

__all__ = ["SPECS"]

SPECS = (
    ProtocolSpec(
        name="quick",
        summary="relevance, LIME and chance on 30 images by faithfulness, in some minutes",
        version=1,
        settings={
            "methods": ("TransformerLRP", "AttnLRP", "LimeCXR", "Random"),
            "metrics": ("FaithfulnessEstimate",),
            "samples": 30,
            "lime_samples": 500,
            "lime_replacement": "baseline",
            "baselines": (0.0,),
            "softmax": False,
            "normalise": True,
            "abs": False,
            "tie_breaks": 3,
        },
    ),
)
