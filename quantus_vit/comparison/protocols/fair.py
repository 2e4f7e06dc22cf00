"""``fair``: the default with real data. Decides by one metric that was declared before any X-ray was scored.

**Primary metric**: ``RemovalCurve[removal=tokens]``, the area between the curves of removing the least and the most
relevant patches first, which the model never sees then. Chosen on phantoms, whose lesion decides by construction, by
``quantus-vit compare --protocol meta --threads 1`` (version 1; version 2 counts the same): it put the lesion's outline
before chance, smooth chance, edges, the middle and AttnLRP's map of another class in 12 of 12 phantoms (Wilson interval
0.76 to 1).
``SaCo[removal=tokens]`` and FaithfulnessEstimate with both baselines did so, too; of these it alone needs neither a
value in place of what is removed nor a size of groups. The same curve with the mean colour managed 4 of 12 and with
black 7, so curves that paint patches over are not part of it; ``--sensitivity`` has them.

**Methods that remove** are to be scored under the metric's removal and under their own. LIME is there with the removal
of FaithfulnessEstimate (0.0, the mean of the preprocessing) and with its own default, the superpixel's mean colour.
Occlusion has 0.0, which is Captum's default, too, and TokenOcclusion the removal of the primary metric. LIME draws its
neighbourhood in the orthogonal design: 300 images tell what 800 coin tosses tell (benchmarks/LIME.md).

**Cost**: some 1,970 forwards an image of 224 pixels, 780 for maps and 70 to score each of 17 maps (RemovalCurve 28,
FaithfulnessEstimate 42); localisation and Sparseness look at maps alone. Ties are broken in one order an image, with a
seed of the image's own: the mean over images is a mean over orders.

What model and data do not have is left out: localisation and the mask's prior without masks, the other class for a
model with one output. Models whose tokens cannot be removed (windows, merging) need other ``--metrics``; then no metric
is the declared one. More can be added by ``--methods`` and ``--metrics``, such as KernelShap over LIME's superpixels.
"""

from __future__ import annotations

from .base import ProtocolSpec

__all__ = ["SPECS"]

SPECS = (
    ProtocolSpec(
        name="fair",
        summary="methods and controls by a primary metric chosen on phantoms, faithfulness and localisation",
        version=2,
        settings={
            "methods": (
                "TransformerLRP",
                "AttnLRP",
                "GenericAttention",
                "LibraGrad",
                "GradCAM",
                "InputXGradient",
                "IntegratedGradients",
                "LimeCXR[sampling=orthogonal]",
                "LimeCXR[replacement=mean,sampling=orthogonal]",
                "Occlusion",
                "TokenOcclusion[window=2,stride=2]",
                "Random",
                "RandomPatches",
                "CentrePrior",
                "MaskPrior",
                "SobelEdges",
                "Blurred[method=AttnLRP]",
                "OtherClass[method=AttnLRP]",
            ),
            "metrics": (
                "RemovalCurve[removal=tokens]",
                "FaithfulnessEstimate",
                "RelevanceMassAccuracy",
                "RelevanceRankAccuracy",
                "TolerantPointingGame",
                "AUPRC",
                "Sparseness",
            ),
            "primary": "RemovalCurve[removal=tokens]",
            "samples": 87,
            "lime_samples": 300,
            "lime_replacement": "baseline",
            "baselines": (0.0,),
            "softmax": False,
            "normalise": True,
            "abs": False,
            "tie_breaks": 1,
            "removal_shift": 8,
        },
    ),
)
