"""The stem for small images: a 3x3 convolution with stride 1, and no pooling."""

from __future__ import annotations

from torch import nn

from hugbench.errors import UserError

# timm's class -> what reduces the image between its first convolution and its first stage.
REDUCERS: dict[str, tuple[str, ...]] = {
    "ResNet": ("maxpool",),
    "ResNetV2": ("stem.pad", "stem.pool"),
    "SENet": ("pool0",),
    "DenseNet": ("features.pool0",),
    "DPN": ("features.conv1_pool",),
    "EfficientNet": (),
    "MobileNetV3": (),
    "RegNet": (),
}


def shrink_stem(backbone: nn.Module, name: str) -> None:
    """Let the backbone see small images at full size, in place.

    Its first convolution becomes 3x3 with stride 1 (of the same type and width, initialised as in
    He et al. 2015, arXiv 1502.01852, over its outputs), and the pooling after it is left out, as He
    et al. (2016, arXiv 1512.03385, section 4.2) do for CIFAR. Stems of several convolutions keep
    the others, which have stride 1.

    Args:
        backbone: a model of timm.
        name: its name, for the message.

    Raises:
        UserError: the family has no such stem.
    """
    family = type(backbone).__name__
    if family not in REDUCERS:
        raise UserError(
            f"the backbone {name} ({family}) has no cifar stem",
            key="model.stem",
            found="cifar",
            expected=f"stem: default, or a backbone of {', '.join(REDUCERS)}",
        )
    path, convolution = next(
        (path, part) for path, part in backbone.named_modules() if isinstance(part, nn.Conv2d)
    )
    small = type(convolution)(
        convolution.in_channels,
        convolution.out_channels,
        kernel_size=3,
        stride=1,
        padding=1,
        bias=convolution.bias is not None,
    )
    nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
    _replace(backbone, path, small)
    present = {path for path, _ in backbone.named_modules()}
    for reducer in present.intersection(REDUCERS[family]):
        _replace(backbone, reducer, nn.Identity())


def _replace(module: nn.Module, path: str, part: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, part)
