"""Models of something other than classes as classifiers, so that every method explains them.

A wrapper is an ``nn.Module`` with outputs (N, targets) around the user's model, which is neither copied nor changed.
It knows torch only; what a wrapped model returns is recognised by its form (a tensor, a tuple, an output with fields).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["RegionTarget", "TextTargets"]


class TextTargets(nn.Module):
    """Similarity of images with texts: target k is ``scale`` times the cosine of image and text k.

    Parameters
    ----------
    image_encoder : nn.Module
        Gives image features (N, D) in the space that it shares with the texts: Hugging Face's ``CLIPModel`` and
        ``SiglipModel`` (their image side is used), ``CLIPVisionModelWithProjection``, ``SiglipVisionModel``; the model
        of open_clip or its ``visual``; or a module of your own that gives a tensor.
    text_features : Tensor
        (texts, D), one row a prompt, of any length; rows are normalised. The text side runs once, outside.
    scale : float
        CLIP's ``logit_scale.exp()``. It scales maps of methods that are linear in the logit.

    Raises
    ------
    TypeError, ValueError
        Features that are no floating-point matrix or have a row of zeros; in the forward: image features of another
        width, or an output without any.

    Examples
    --------
    >>> texts = clip.get_text_features(**tokenizer(["a cat", "a dog"], return_tensors="pt", padding=True)).pooler_output
    >>> model = TextTargets(clip, texts, scale=clip.logit_scale.exp().item())
    >>> maps = TransformerLRP(model).attribute(images, target=1)  # where the image looks like "a dog"
    """

    text_features: Tensor

    def __init__(self, image_encoder: nn.Module, text_features: Tensor, scale: float = 1.0) -> None:
        super().__init__()
        _check_module("image_encoder", image_encoder)
        if not isinstance(text_features, Tensor) or not text_features.is_floating_point():
            raise TypeError(
                f"text_features must be a floating-point tensor (texts, D), not {_kind(text_features)}; of an output "
                "of a text model take its features first"
            )
        if text_features.dim() != 2 or not bool(text_features.any(1).all()):
            raise ValueError(
                f"text_features must be of shape (texts, D), without rows of zeros, not {tuple(text_features.shape)}"
            )
        self.image_encoder = image_encoder
        self.scale = float(scale)
        self.register_buffer("text_features", F.normalize(text_features.detach(), dim=-1))

    def forward(self, images: Tensor, *arguments: Any) -> Tensor:
        """Images (N, C, H, W), and further arguments of the encoder -> (N, texts).

        Parameters
        ----------
        images : Tensor
            (N, C, H, W).
        *arguments
            Of the encoder, behind the images.

        Returns
        -------
        Tensor
            Similarities (N, texts).
        """
        features = _features(self._encode(images, *arguments))
        if features.dim() != 2 or features.shape[1] != self.text_features.shape[1]:
            raise ValueError(
                f"the image encoder gave features of shape {tuple(features.shape)}, but the texts have "
                f"{self.text_features.shape[1]} features: they do not come from the same space"
            )
        return F.linear(F.normalize(features, dim=-1), self.text_features.to(features.dtype)) * self.scale

    def _encode(self, images: Tensor, *arguments: Any) -> Any:
        for name in ("get_image_features", "encode_image"):  # Hugging Face, open_clip: models of both sides
            if hasattr(self.image_encoder, name):
                return getattr(self.image_encoder, name)(images, *arguments)
        return self.image_encoder(images, *arguments)


class RegionTarget(nn.Module):
    """The sum of a map that a model gives over a region, as one logit (why is this called a lesion, here).

    For segmentation and detection models, whose output is a map of scores (N, channels, h, w). Target k is the sum of
    channel ``channel[k]`` over the region.

    Parameters
    ----------
    model : nn.Module
        Gives the map, as a tensor, a tuple whose first entry it is, a mapping with ``"out"`` (torchvision) or an output
        with ``logits`` (Hugging Face).
    region : Tensor
        (H, W), bool or weights of 0 and more. A region of another size than the map's (that of the image, say) is
        brought to it by the share of every pixel of the map that it covers. In volumes (D, H, W).
    channel : int or sequence of int
        Channels of the map; each becomes one target.

    Raises
    ------
    TypeError, ValueError
        A region that is no such mask, or empty; a channel that is no index; in the forward: an output that is no map or
        has no such channel.

    Examples
    --------
    >>> model = RegionTarget(segmenter, lesion_mask, channel=1)
    >>> maps = AttnLRP(model).attribute(images, target=0)
    >>> each = AttnLRP(model).attribute(images, 0, additional_forward_args=masks)  # (N, H, W): a region an image
    """

    region: Tensor

    def __init__(self, model: nn.Module, region: Tensor, channel: int | Sequence[int]) -> None:
        super().__init__()
        _check_module("model", model)
        channels = [channel] if isinstance(channel, int) else list(channel)
        if not channels or any(type(index) is not int or index < 0 for index in channels):
            raise ValueError(f"channel must be an index of 0 or more, or several, not {channel!r}")
        self.model = model
        self.channels = channels
        self.register_buffer("region", _checked_region(region))

    def forward(self, images: Tensor, region: Tensor | None = None) -> Tensor:
        """Images (N, C, H, W), and perhaps a region for each, (N, H, W) -> (N, number of channels).

        Parameters
        ----------
        images : Tensor
            (N, C, H, W).
        region : Tensor, optional
            A region for each image, (N, H, W), in place of the one that was given before.

        Returns
        -------
        Tensor
            Sums (N, number of channels).
        """
        scores = _score_map(self.model(images), images.dim())
        if max(self.channels) >= scores.shape[1]:
            raise ValueError(f"channel {max(self.channels)} is not in the model's map of {scores.shape[1]} channels")
        weights = self.region[None] if region is None else _checked_region(region)
        if weights.dim() != scores.dim() - 1 or len(weights) not in (1, len(scores)):
            raise ValueError(
                f"a region of shape {tuple(weights.shape[region is None :])} does not fit a map of shape "
                f"{tuple(scores.shape)}"
            )
        weights = weights[:, None].to(scores)
        if weights.shape[2:] != scores.shape[2:]:
            weights = F.interpolate(weights, scores.shape[2:], mode="area")
        chosen = scores[:, self.channels]
        return (chosen * weights).flatten(2).sum(2)


def _check_module(name: str, module: Any) -> None:
    if not isinstance(module, nn.Module):
        raise TypeError(f"{name} must be a torch.nn.Module, not {type(module).__name__}")


def _kind(value: Any) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__


def _checked_region(region: Any) -> Tensor:
    """The region in floating point."""
    if not isinstance(region, Tensor) or region.dtype.is_complex:
        raise TypeError(f"region must be a tensor of bool or weights, not {_kind(region)}")
    if region.dim() < 2:
        raise ValueError(f"region must be of shape (H, W), not {tuple(region.shape)}")
    weights = region.detach()
    weights = weights if weights.is_floating_point() else weights.float()
    if bool((weights < 0).any()) or not bool(weights.any()):
        raise ValueError("region must have weights of 0 and more, some of them above 0; this one is empty or negative")
    return weights


def _features(output: Any) -> Tensor:
    """The image features in what an encoder returned."""
    if isinstance(output, Tensor):
        return output
    for name in ("image_embeds", "pooler_output"):
        found = getattr(output, name, None)
        if isinstance(found, Tensor):
            return found
    if isinstance(output, (tuple, list)) and output and isinstance(output[0], Tensor):
        return output[0]
    raise TypeError(f"the image encoder returned {type(output).__name__}, in which there are no image features (N, D)")


def _score_map(output: Any, rank: int) -> Tensor:
    """The map of scores in what a model returned."""
    found = getattr(output, "logits", output)
    if isinstance(found, Mapping):
        found = found.get("out", next(iter(found.values()), None))
    if isinstance(found, (tuple, list)) and found:
        found = found[0]
    if not isinstance(found, Tensor) or found.dim() != rank:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"the model must give a map (N, channels, ...) of {rank} dimensions, not {shape}")
    return found
