"""The comparison of Komorowski et al. (2023) by plain Quantus calls: LRP against LIME on chest X-rays, by faithfulness.

    python examples/compare_covid_qu_ex.py --data COVID-QU-Ex --checkpoint model.safetensors --samples 87

`quantus-vit compare` does the same with more care: it resumes, breaks ties, tests differences and draws the figures.
Without arguments it explains synthetic phantoms with the small ViT that the package ships.
"""

import argparse

import numpy as np
import quantus

import quantus_vit  # noqa: F401  (registers its methods with Quantus)
from quantus_vit.assets import phantom_checkpoint_path
from quantus_vit.comparison.protocol import default_features_in_step
from quantus_vit.data import CovidQuEx, Phantom
from quantus_vit.models.checkpoint import load_checkpoint

METHODS = {"TransformerLRP": {}, "LimeCXR": {"num_samples": 200, "seed": 0}}

parser = argparse.ArgumentParser()
parser.add_argument("--data", help="folder of COVID-QU-Ex; phantoms if left out")
parser.add_argument("--checkpoint", default=phantom_checkpoint_path(), help="model.safetensors of 'quantus-vit train'")
parser.add_argument("--samples", type=int, default=6)
args = parser.parse_args()

model, config = load_checkpoint(args.checkpoint)
if args.data:
    dataset = CovidQuEx(args.data, split="Test", image_size=config.image_size)
else:
    dataset = Phantom(300, seed=0, split="Test", image_size=config.image_size)

# As many images of each class, drawn by a seed.
labels = np.array(dataset.labels)
generator = np.random.default_rng(0)
chosen = [generator.permutation(np.flatnonzero(labels == label))[: args.samples // 3] for label in range(3)]
x = np.stack([dataset[index]["image"].numpy() for index in np.concatenate(chosen)])
y = labels[np.concatenate(chosen)]

# Pearson correlation of the relevance of a step's values with the drop of the logit when they become ImageNet's mean.
metric = quantus.FaithfulnessEstimate(
    features_in_step=default_features_in_step(config.preprocessing.size),  # 3584 at 224 pixels; must divide the pixels
    perturb_baseline=0.0,
    abs=False,
    normalise=True,
    normalise_func_kwargs={"normalise_axes": (1, 2, 3)},  # each map by its own maximum, not the batch's
    return_aggregate=False,
    disable_warnings=True,
)

for method, options in METHODS.items():
    scores = metric(
        model=model,
        x_batch=x,
        y_batch=y,
        explain_func=quantus.explain,
        explain_func_kwargs={"method": method, "xai_lib_kwargs": options},
        channel_first=True,
        softmax=False,
        batch_size=8,
    )
    by_class = ", ".join(
        f"{name} {np.nanmean(np.array(scores)[y == label]):.2f}" for label, name in enumerate(config.class_names)
    )
    print(f"{method}: mean {np.nanmean(scores):.3f}, median {np.nanmedian(scores):.3f} ({by_class})")
