"""``fair``: the default with real data. Decides by one metric that was declared before any X-ray was scored.

**Primary metric**: ``RemovalCurve[removal=tokens]``, the area between the curves of removing the least and the most
relevant patches first, which the model never sees then. Chosen on phantoms, whose lesion decides by construction, by
``quantus-vit compare --protocol meta --threads 1`` (version 1): it put the lesion's outline before chance, smooth
chance, edges, the middle and AttnLRP's map of another class in 12 of 12 phantoms (Wilson interval 0.76 to 1).
``SaCo[removal=tokens]`` and FaithfulnessEstimate with both baselines did so, too; of these it alone needs neither a
value in place of what is removed nor a size of groups. The same curve with the mean colour managed 4 of 12.

**LIME** is there twice: with the removal of FaithfulnessEstimate's first baseline, and with its own default, the
superpixel's mean colour. No removal of LIME's is that of the primary metric; TokenOcclusion's, which leaves out one
patch after the other, is. (Captum's Occlusion by way of Quantus moves its window by single pixels: 50,000 forwards.)

Not part of it: localisation, which data without masks do not have, and the class swap, which a model with one output
does not have; add them by ``--metrics`` and ``--methods``. Models whose tokens cannot be removed (windows, merging)
need other ``--metrics``; then no metric is the declared one.
"""

from __future__ import annotations

from .base import ProtocolSpec

__all__ = ["SPECS"]

SPECS = (
    ProtocolSpec(
        name="fair",
        summary="methods and controls by a primary metric that was chosen on phantoms, and by other removals",
        version=1,
        settings={
            "methods": (
                "TransformerLRP",
                "AttnLRP",
                "GenericAttention",
                "LibraGrad",
                "LimeCXR",
                "LimeCXR[replacement=mean]",
                "InputXGradient",
                "IntegratedGradients",
                "TokenOcclusion",
                "Random",
                "RandomPatches",
                "CentrePrior",
                "SobelEdges",
                "Intensity",
                "Blurred[method=AttnLRP]",
            ),
            "metrics": (
                "RemovalCurve[removal=tokens]",
                "RemovalCurve[removal=mean]",
                "RemovalCurve[removal=black]",
                "SaCo[removal=tokens]",
                "FaithfulnessEstimate",
                "Sparseness",
            ),
            "primary": "RemovalCurve[removal=tokens]",
            "samples": 87,
            "lime_samples": 1000,
            "lime_replacement": "baseline",
            "baselines": (0.0, "black"),
            "softmax": False,
            "normalise": True,
            "abs": False,
            "tie_breaks": 3,
        },
    ),
)
