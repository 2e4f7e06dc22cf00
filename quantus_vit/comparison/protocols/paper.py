"""``paper``: as near to Komorowski et al. (2023) as can be said.

The paper compares TransformerLRP with LIME by Quantus' FaithfulnessEstimate on 87 X-rays, explains with lime's own
defaults (quickshift, 1000 samples, a superpixel's mean colour in place of an absent one), and names no other setting.
What is not the same: Quantus from 0.6.0 on removes values of single channels where it removed pixels before; the paper
does not say its baseline, its step, nor whether it scored logits or probabilities, so Quantus' defaults ("black",
logits) stand here, with steps of a fourteenth of the pixels; equal values are ordered at random three times and scores
averaged; the images and the model's weights were not published.
"""

from __future__ import annotations

from .base import ProtocolSpec

__all__ = ["SPECS"]

SPECS = (
    ProtocolSpec(
        name="paper",
        summary="Komorowski et al. (2023): TransformerLRP against lime's defaults by faithfulness on 87 images",
        version=1,
        settings={
            "methods": ("TransformerLRP", "LimeCXR[segments=lime-default]"),
            "metrics": ("FaithfulnessEstimate",),
            "samples": 87,
            "lime_samples": 1000,
            "lime_replacement": "mean",
            "baselines": ("black",),
            "softmax": False,
            "normalise": True,
            "abs": False,
            "tie_breaks": 3,
        },
    ),
)
