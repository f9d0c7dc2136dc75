"""The question a suite asks, as frozen models. What is not written here cannot be in a suite.

Every model is strict (`"10"` is not 10), refuses unknown keys, NaN and infinity, and is
immutable: past the plan nobody looks a setting up in a dict.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from hugbench.types import Fraction, Frozen, NonNegative, NonNegativeInt, OpenFraction, Positive, PositiveInt

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$", max_length=100)]


class DatasetSpec(Frozen):
    """Which images, and which of them."""

    name: Name = Field(description="a known data set, or a folder DATA/NAME/{train,test}/CLASS/*.png")
    image_size: PositiveInt | None = Field(
        None, description="resize to this many pixels square; null keeps the images' own size"
    )
    validation: OpenFraction = Field(
        0.0, description="fraction of each class of the training set that is held out of training"
    )
    validation_seed: int = Field(0, description="which images are held out")
    max_train: PositiveInt | None = Field(
        None, description="at most this many training images, class-balanced; null takes all"
    )
    max_test: PositiveInt | None = Field(
        None, description="at most this many test images, class-balanced; null takes all"
    )
    subset_seed: int = Field(0, description="which images max_train and max_test keep")
    resident: Literal["auto", "always", "never"] = Field(
        "auto", description="keep all images in memory as uint8, or stream them from their files"
    )


class ModelSpec(Frozen):
    """A timm backbone, its stem and the embedding that every criterion shares."""

    backbone: Name = Field(description="any model name of timm")
    stem: Literal["default", "cifar"] = Field(
        "default", description="cifar: 3x3 convolution, stride 1, no max-pool (for small images)"
    )
    embedding_dim: PositiveInt | None = Field(
        128, description="width of the linear layer after pooling; null: the pooled features as they are"
    )
    pretrained: bool = Field(False, description="start from timm's weights (needs them on disk or network)")
    drop_rate: Fraction = Field(0.0, description="dropout before the embedding")
    drop_path_rate: Fraction | None = Field(None, description="stochastic depth, where the family has it")


class Augment(Frozen):
    """Augmentation of the training images, batched on the device."""

    flip: bool = Field(False, description="mirror left-right with probability 1/2")
    crop: NonNegativeInt = Field(0, description="pad by this many black pixels, then crop at random")
    cutout: NonNegativeInt = Field(0, description="black out one square with this many pixels a side")


class Recipe(Frozen):
    """How a model is trained."""

    epochs: PositiveInt
    batch_size: PositiveInt
    optimizer: Literal["sgd", "adamw", "adam", "lamb", "lion"] = "sgd"
    lr: NonNegative
    momentum: Annotated[OpenFraction, Field(description="of sgd; of lamb and lion nothing")] = 0.9
    nesterov: bool = False
    betas: tuple[OpenFraction, OpenFraction] | None = Field(
        None, description="of adamw, adam, lamb, lion; null takes timm's"
    )
    weight_decay: NonNegative = 0.0
    decay_norm_and_bias: bool = Field(True, description="weight decay on biases and norm layers, too")
    schedule: Literal["constant", "multistep", "cosine", "one_cycle"] = "constant"
    milestones: tuple[PositiveInt, ...] = Field(
        (), description="epochs at which multistep multiplies lr by gamma"
    )
    gamma: Positive = Field(0.1, description="factor of multistep")
    warmup_epochs: NonNegative = Field(0.0, description="epochs of linear warm-up (one_cycle: its rise)")
    min_lr: NonNegative = Field(0.0, description="where cosine ends")
    augment: Augment = Augment()
    mixup: NonNegative = Field(0.0, description="alpha of mixup; 0 is off")
    cutmix: NonNegative = Field(0.0, description="alpha of cutmix; 0 is off; with mixup, either by a coin")
    clip_grad: Positive | None = Field(None, description="largest norm of the gradient; null: unclipped")
    ema: Fraction | None = Field(
        None, description="decay of a moving average of the weights, which is evaluated"
    )
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    compile: bool = Field(False, description="torch.compile the training step")
    drop_last: bool = Field(True, description="leave out an epoch's last, smaller batch")
    snapshot_every: PositiveInt | None = Field(
        None,
        description="keep the model every so many epochs, for evaluations with evaluate_after: each",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.schedule == "multistep" and not self.milestones:
            raise ValueError("schedule multistep needs milestones, e.g. milestones: [60, 120, 180]")
        if self.milestones and self.schedule != "multistep":
            raise ValueError(f"milestones belong to schedule multistep, not {self.schedule}")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must rise")
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise ValueError("nesterov belongs to optimizer sgd with a momentum above 0")
        if self.betas is not None and self.optimizer == "sgd":
            raise ValueError("betas belong to adamw, adam, lamb and lion; sgd has momentum")
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs:g} is more than epochs {self.epochs}")
        return self
