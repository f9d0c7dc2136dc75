"""Multi-layer perceptrons as timm backbones: what much of continual learning is measured with."""

from __future__ import annotations

import math
from typing import Any

from timm.models import register_model
from torch import Tensor, nn


class MLP(nn.Module):
    """Pixels in a row, through linear layers with a ReLU after each.

    Args:
        widths: of the layers; the last is that of the pooled features.
        in_chans: channels of the images.
        img_size: height and width in pixels, or one number for both.
    """

    def __init__(
        self, widths: tuple[int, ...], *, in_chans: int = 3, img_size: int | tuple[int, int] = 32
    ) -> None:
        super().__init__()
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.pixels = (in_chans, height, width)
        self.num_features = widths[-1]
        sizes = (math.prod(self.pixels), *widths)
        layers = [(nn.Linear(*pair), nn.ReLU()) for pair in zip(sizes, widths, strict=False)]
        self.layers = nn.Sequential(*(part for layer in layers for part in layer))

    def forward(self, images: Tensor) -> Tensor:
        """(B, widths[-1]) from (B, *pixels)."""
        if images.shape[1:] != self.pixels:
            raise ValueError(f"images: expected (B, *{self.pixels}), found {tuple(images.shape)}")
        features: Tensor = self.layers(images.flatten(1))
        return features


@register_model
def mlp_100_100(pretrained: bool = False, **arguments: Any) -> MLP:
    """Two layers of 100, as for MNIST in Lopez-Paz and Ranzato (NeurIPS 2017, arXiv 1706.08840)."""
    return _mlp((100, 100), pretrained, arguments)


@register_model
def mlp_400_400(pretrained: bool = False, **arguments: Any) -> MLP:
    """Two layers of 400, as for split MNIST in van de Ven and Tolias (arXiv 1904.07734)."""
    return _mlp((400, 400), pretrained, arguments)


def _mlp(widths: tuple[int, ...], pretrained: bool, arguments: dict[str, Any]) -> MLP:
    """Without what timm tells every model and this one has no use for."""
    if pretrained:
        raise ValueError("there are no trained weights for a multi-layer perceptron")
    unused = {"pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "num_classes", "drop_rate"}
    return MLP(widths, **{name: value for name, value in arguments.items() if name not in unused})
