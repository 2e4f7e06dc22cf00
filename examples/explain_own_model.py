"""Explain a Vision Transformer of your own, through Quantus: python examples/explain_own_model.py

Takes any timm ViT; this one has random weights and a random image, so nothing is downloaded.
"""

import quantus
import timm
import torch

import quantus_vit  # noqa: F401  (registers its methods with Quantus)

model = timm.create_model("vit_tiny_patch16_224", pretrained=False).eval()  # pretrained=True for ImageNet's
x = torch.randn(2, 3, 224, 224).numpy()
y = model(torch.as_tensor(x)).argmax(dim=1).detach().numpy()

relevance = quantus.explain(model, x, y, method="TransformerLRP")  # (2, 1, 224, 224)

metric = quantus.FaithfulnessEstimate(features_in_step=3584, perturb_baseline=0.0, disable_warnings=True)
scores = metric(model=model, x_batch=x, y_batch=y, a_batch=relevance, channel_first=True)
print(relevance.shape, scores)
