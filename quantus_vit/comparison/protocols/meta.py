"""``meta``: judges the metrics, not the methods. For phantoms, whose lesion decides by construction.

The map that is right is the lesion's outline with soft borders (``MaskPrior[mask=infection]``); the maps that are not
are chance (by pixels, and as smooth as a Vision Transformer's), edges, the middle, and AttnLRP's map of another class.
A metric that does not put the first before the others cannot say which method is the more faithful. Localisation knows
the mask, so that it puts the truth first is no merit; it shows that its direction is right. AttnLRP's own map is scored
beside them, and is no part of the judgement.

Metrics that change the model cannot be judged so: an outline does not look at it. IROF and ROAD run on some releases of
Quantus only (docs/comparison.md); ``--metrics IROF ROAD`` judges them there.
"""

from __future__ import annotations

from .base import ProtocolSpec

__all__ = ["SPECS", "TRUTH"]

TRUTH = "MaskPrior[mask=infection]"
_REMOVALS = ("mean", "black", "blur", "tokens")  # "smooth" and "inpaint" cost a minute an image

SPECS = (
    ProtocolSpec(
        name="meta",
        summary="judges metrics by phantoms: how often each prefers the true lesion to chance, edges and other classes",
        version=2,
        settings={
            "truth": TRUTH,
            "methods": (
                TRUTH,
                "AttnLRP",
                "Random",
                "RandomPatches",
                "SobelEdges",
                "CentrePrior",
                "OtherClass[method=AttnLRP]",
            ),
            "metrics": (
                "FaithfulnessEstimate",
                "PixelFlipping",
                "FaithfulnessCorrelation",
                "RegionPerturbation",
                *(f"RemovalCurve[removal={name}]" for name in _REMOVALS),
                *(f"SaCo[removal={name}]" for name in ("mean", "blur", "tokens")),
                "AUPRC",
                "AUROC",
                "PointingGame",
                "TolerantPointingGame",
                "MaskIoU",
                "TopKIntersection",
                "RelevanceMassAccuracy",
                "RelevanceRankAccuracy",
                "MaxSensitivity",
                "NoiseRetest",
                "Sparseness",
                "Complexity",
                "EffectiveComplexity",
            ),
            "findings": ("COVID-19", "Non-COVID"),
            "samples": 12,
            "baselines": (0.0, "black"),
            "softmax": False,
            "normalise": True,
            "abs": False,
            "tie_breaks": 1,
        },
    ),
)
