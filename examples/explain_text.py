"""Where does an image look like a text? Image-text similarity of CLIP, explained for each of several prompts.

    python examples/explain_text.py                                        # a tiny CLIP with random weights, offline
    python examples/explain_text.py --model openai/clip-vit-base-patch16 --image xray.png \
        --prompts "a chest X-ray of a healthy lung" "a chest X-ray of pneumonia"

With ``--model`` the weights, tokenizer and image processor come from Hugging Face (a name, or a folder saved by
``save_pretrained``); CLIP and SigLIP models both do. Without it nothing is downloaded, and the
maps show the mechanics only.
"""

from __future__ import annotations

import argparse

import matplotlib
import torch
import transformers
from PIL import Image
from torch import Tensor, nn

from quantus_vit import GenericAttention, TextTargets

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PROMPTS = ["a chest X-ray of a healthy lung", "a chest X-ray of pneumonia"]


def tiny_clip(prompts: list[str]) -> tuple[nn.Module, Tensor]:
    """A random CLIP, and token ids of the prompts by the order in which their words come."""
    words = sorted({word for prompt in prompts for word in prompt.split()})
    start, end = len(words) + 1, len(words) + 2
    rows = [[start, *(words.index(word) + 1 for word in prompt.split()), end] for prompt in prompts]
    length = max(map(len, rows))
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    special = {"bos_token_id": start, "eos_token_id": end, "pad_token_id": 0}
    text = {**sizes, **special, "vocab_size": end + 1, "max_position_embeddings": length}
    vision = {**sizes, "image_size": 64, "patch_size": 8}
    torch.manual_seed(0)
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
    return model.eval(), torch.tensor([row + [0] * (length - len(row)) for row in rows])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="Hugging Face CLIP or SigLIP model, name or folder; default: random and tiny")
    parser.add_argument("--image", help="an image file; default: noise")
    parser.add_argument("--prompts", nargs="+", default=PROMPTS)
    parser.add_argument("--out", default="text_targets.png")
    chosen = parser.parse_args(arguments)

    picture = Image.open(chosen.image).convert("RGB") if chosen.image else None
    if chosen.model is None:
        clip, tokens = tiny_clip(chosen.prompts)
        texts = {"input_ids": tokens}
        image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        if picture is not None:
            pixels = torch.frombuffer(bytearray(picture.resize((64, 64)).tobytes()), dtype=torch.uint8)
            image = pixels.view(1, 64, 64, 3).permute(0, 3, 1, 2) / 127.5 - 1
    else:
        clip = transformers.AutoModel.from_pretrained(chosen.model).eval()
        processor = transformers.AutoProcessor.from_pretrained(chosen.model)
        texts = processor(text=chosen.prompts, return_tensors="pt", padding="max_length", truncation=True)
        image = processor(images=picture or Image.effect_noise((224, 224), 64).convert("RGB"), return_tensors="pt")
        image = image["pixel_values"]

    with torch.no_grad():
        features = clip.get_text_features(**texts)  # a tensor in transformers 4, an output in 5
        features = getattr(features, "pooler_output", features)
        model = TextTargets(clip, features, scale=clip.logit_scale.exp().item()).eval()
        similarity = model(image)[0]

    maps: Tensor = GenericAttention(model).attribute(
        image.expand(len(features), -1, -1, -1), list(range(len(features)))
    )
    grey = image[0].mean(0)
    figure, axes = plt.subplots(1, len(maps), figsize=(4 * len(maps), 4.4), squeeze=False)
    for axis, one, prompt, score in zip(axes[0], maps, chosen.prompts, similarity, strict=True):
        axis.imshow(grey.numpy(), cmap="gray")
        axis.imshow(one[0].numpy(), cmap="inferno", alpha=0.5)
        axis.set_title(f"{prompt}\nsimilarity {score:.2f}", fontsize=9)
        axis.axis("off")
        print(f"{score:8.2f}  {prompt}")
    figure.savefig(chosen.out, dpi=120)
    print(f"maps in {chosen.out}")


if __name__ == "__main__":
    main()
