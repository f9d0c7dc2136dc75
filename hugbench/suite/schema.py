"""The question a suite asks, as frozen models. What is not written here cannot be in a suite.

Every model is strict (`"10"` is not 10), refuses unknown keys, NaN and infinity, and is
immutable: past the plan nobody looks a setting up in a dict.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import Field, StringConstraints, model_validator

from hugbench.types import Fraction, Frozen, NonNegative, NonNegativeInt, OpenFraction, Positive, PositiveInt

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$", max_length=100)]


class LongTail(Frozen):
    """A long-tailed subset of the training images."""

    imbalance_factor: Annotated[float, Ge(1)] = Field(
        description="images of the most frequent class for each one of the rarest"
    )
    profile: Literal["exponential", "step"] = Field(
        "exponential", description="step: half of the classes keep all, the others the rarest's share"
    )
    class_order: Literal["fixed", "seeded"] = Field(
        "fixed", description="fixed: the first class is the most frequent; seeded: any is, by the seed"
    )
    seed: int = Field(0, description="which images are kept and, with class_order seeded, of which classes")


class DatasetSpec(Frozen):
    """Which images, and which of them."""

    name: Name = Field(description="a known data set, or a folder DATA/NAME/{train,test}/CLASS/*.png")
    image_size: PositiveInt | None = Field(
        None, description="resize to this many pixels square; null keeps the images' own size"
    )
    shorter_side: PositiveInt | None = Field(
        None,
        description="resize the shorter side to this many pixels, then crop image_size out of the centre "
        "(256 with 224, say); null squeezes the whole image into the square",
    )
    validation: OpenFraction = Field(
        0.0, description="fraction of each class of the training set that is held out of training"
    )
    validation_seed: int = Field(0, description="which images are held out")
    long_tail: LongTail | None = Field(
        None, description="make the training images long-tailed, as in LDAM; null keeps all classes whole"
    )
    max_train: PositiveInt | None = Field(
        None,
        description="at most this many training images, class-balanced or with the long tail's profile; "
        "null takes all",
    )
    max_test: PositiveInt | None = Field(
        None, description="at most this many test images, class-balanced; null takes all"
    )
    subset_seed: int = Field(0, description="which images max_train and max_test keep")
    survey: PositiveInt | None = Field(
        None,
        description="mean and deviation from this many training images, and of folders a checksum over "
        "names, sizes and samples of the files; null: from every pixel, for which all images are decoded "
        "once",
    )
    resident: Literal["auto", "always", "never"] = Field(
        "auto", description="keep all images in memory as uint8, or stream them from their files"
    )

    @model_validator(mode="after")
    def _consistent(self) -> DatasetSpec:
        if self.shorter_side is not None and not self.image_size:
            raise ValueError("shorter_side needs an image_size, which is cropped out of the centre")
        if self.shorter_side is not None and self.image_size and self.shorter_side < self.image_size:
            raise ValueError(f"shorter_side {self.shorter_side} is less than image_size {self.image_size}")
        return self


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
    normalise: bool = Field(
        True, description="by mean and deviation of the training images; false: images as they are, in [0, 1]"
    )


Range = tuple[Positive, Positive]


class RandomResizedCrop(Frozen):
    """A random part of an image as it lies in its file, resized to dataset.image_size."""

    scale: Range = Field((0.08, 1.0), description="smallest and largest area, as fractions of the image's")
    ratio: Range = Field((3 / 4, 4 / 3), description="smallest and largest width over height")

    @model_validator(mode="after")
    def _consistent(self) -> RandomResizedCrop:
        for name, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if low > high:
                raise ValueError(f"{name} must rise, from the smallest to the largest")
        if self.scale[1] > 1:
            raise ValueError(f"scale {self.scale[1]:g} is more than the whole image, which is 1")
        return self


class Augment(Frozen):
    """Augmentation of the training images, batched on the device but for the random resized crop."""

    flip: bool = Field(False, description="mirror left-right with probability 1/2")
    crop: NonNegativeInt = Field(0, description="pad by this many black pixels, then crop at random")
    cutout: NonNegativeInt = Field(0, description="black out one square with this many pixels a side")
    random_resized_crop: RandomResizedCrop | None = Field(
        None, description="train on random parts of the images; {} is ImageNet's usual one; null: off"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Augment:
        if self.random_resized_crop is not None and self.crop:
            raise ValueError("crop or random_resized_crop, not both")
        return self

    @property
    def batched(self) -> Augment:
        """What is left to do on the device: a random resized crop has mirrored, too."""
        if self.random_resized_crop is None:
            return self
        return self.model_copy(update={"random_resized_crop": None, "flip": False})


class ClassWeights(Frozen):
    """Weights of the classes in the loss, from their numbers of training images; they sum to C."""

    kind: Literal["effective_number", "inverse_frequency"] = Field(
        description="(1 - beta) / (1 - beta^n), of Cui et al. (CVPR 2019), or 1/n"
    )
    beta: OpenFraction = Field(0.9999, description="of effective_number")
    after: OpenFraction = Field(
        0.0, description="fraction of the epochs without weights at first (LDAM-DRW: 0.8)"
    )

    @model_validator(mode="after")
    def _consistent(self) -> ClassWeights:
        if self.kind != "effective_number" and "beta" in self.model_fields_set:
            raise ValueError(f"beta belongs to kind effective_number, not {self.kind}")
        return self


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
    sampling: Literal["natural", "class_balanced"] = Field(
        "natural", description="class_balanced: an epoch's images are drawn, every class equally likely"
    )
    sampling_after: OpenFraction = Field(
        0.0, description="fraction of the epochs with natural sampling at first"
    )
    class_weights: ClassWeights | None = Field(
        None, description="weigh the classes in the loss, where the criterion can; null: all alike"
    )
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
        if self.sampling_after and self.sampling == "natural":
            raise ValueError("sampling_after belongs to sampling class_balanced, not natural")
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs:g} is more than epochs {self.epochs}")
        return self
