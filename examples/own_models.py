"""Load a model of your own, in each form that is understood: python examples/own_models.py [FOLDER]

Makes a small model of each kind with random weights in FOLDER (a temporary one by default), so that nothing is
downloaded; then loads each as `--model SPEC` does and explains one synthetic X-ray.
"""

import json
import sys
import tempfile
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

from quantus_vit import TransformerLRP, load_model
from quantus_vit.assets import phantom_checkpoint_path
from quantus_vit.data import Phantom

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
folder.mkdir(parents=True, exist_ok=True)

# A checkpoint of `quantus-vit train`: here the one that the package ships.
specs = [str(phantom_checkpoint_path())]

# timm: the name of an architecture, and your weights. Class names may lie in the file. timm:NAME alone downloads.
weights = timm.create_model("test_vit", num_classes=3).state_dict()
names = json.dumps(["COVID-19", "Non-COVID", "Normal"])
save_file(weights, folder / "timm.safetensors", metadata={"class_names": names})
torch.save({"state_dict": weights}, folder / "timm.pth")  # without names: classes are numbered
specs += [f"timm:test_vit@{folder / 'timm.safetensors'}", f"timm:test_vit@{folder / 'timm.pth'}"]

# Hugging Face: a folder with model and image processor, or a name on the hub.
try:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor
except ImportError:
    print("hf: is left out, it needs transformers: pip install 'quantus-vit[hf]'")
else:
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=64,
        id2label={0: "Edema", 1: "Pneumothorax"},
        problem_type="multi_label_classification",
    )
    ViTForImageClassification(config).save_pretrained(folder / "hf")
    ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder / "hf")
    specs.append(f"hf:{folder / 'hf'}")

# Your own code: a function that returns a module, or a Classifier where the defaults do not fit.
(folder / "mine.py").write_text(
    """
import timm
from quantus_vit import Classifier
from quantus_vit.data import Preprocessing

def bare():
    return timm.create_model("test_vit", num_classes=2)

def complete():
    model = timm.create_model("test_vit", num_classes=1, img_size=96)
    return Classifier(model, ("Pneumothorax",), Preprocessing(size=(96, 96), resize="pad"), task="binary")
"""
)
specs += [f"{folder / 'mine.py'}:bare", f"{folder / 'mine.py'}:complete"]

grey = Phantom(count=1, split="Test").grey(0)
for spec in specs:
    classifier = load_model(spec)
    image = classifier.preprocessing.image(grey)[None]
    relevance = TransformerLRP(classifier.module).attribute(image, target=0)
    with torch.no_grad():
        [probabilities] = classifier.probabilities(classifier.module(image)).tolist()
    said = ", ".join(f"{name} {value:.2f}" for name, value in zip(classifier.class_names, probabilities, strict=True))
    print(f"{spec}\n    {classifier.task}, {tuple(relevance.shape)}: {said}")
