"""The contract of a criterion: a loss that owns its head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn


class Criterion(nn.Module, ABC):
    """A loss over features, with the head that turns features into logits.

    A subclass has a constructor `(in_features, num_classes, *, ...)` whose keyword-only
    arguments are its YAML schema, and defines `forward` (the loss) and `logits`.

    The base checks what goes in and what comes out, so subclasses stay pure: width of the
    features and range of the labels (at the first batch on an accelerator, at every batch on a
    CPU), and that the loss is one number.

    Attributes:
        bounded_logits: the logits live in a fixed interval (cosines, say), so their softmax is
            no probability before a temperature is fitted.
        by_class: names of the parameters and buffers that have one row per class, where all that
            the loss knows of a class is in these rows; empty where it is not.
        weighting: whether classes can be weighed: `recipe` by the recipe's class_weights, which the
            loss finds in `recipe_weights`; `own` by the criterion itself; `none`. A suite is checked
            against it unread, so it is a literal in the class. Whoever overrides `forward` says it
            anew, or it is `none`.
        recipe_weights: (C,), set by `weigh`; None where all classes weigh the same.
    """

    bounded_logits: ClassVar[bool] = False
    by_class: ClassVar[tuple[str, ...]] = ()
    weighting: ClassVar[Literal["none", "recipe", "own"]] = "none"

    recipe_weights: Tensor | None

    def __init_subclass__(cls, **arguments: object) -> None:
        super().__init_subclass__(**arguments)
        if "forward" in vars(cls) and "weighting" not in vars(cls):
            cls.weighting = "none"

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        if in_features < 1:
            raise ValueError(f"in_features: expected at least 1, found {in_features}")
        if num_classes < 2:
            raise ValueError(f"num_classes: expected at least 2, found {num_classes}")
        self.in_features = in_features
        self.num_classes = num_classes
        self._labels_checked = False
        self.register_buffer("recipe_weights", None, persistent=False)
        self.register_forward_pre_hook(_check_input)
        self.register_forward_hook(_check_output)

    @abstractmethod
    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """The loss, a scalar.

        Args:
            features: (B, in_features), floating point.
            targets: labels int64 (B,), or soft targets (B, num_classes) whose rows sum to 1.
        """

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """(B, num_classes): what every evaluation and every attack sees; the larger, the likelier."""

    def among(self, features: Tensor, targets: Tensor, classes: Tensor) -> Tensor:
        """The loss as if there were no classes but `classes`, a scalar.

        Args:
            features: (B, in_features).
            targets: labels int64 (B,), all of them in `classes`.
            classes: int64 (K,), rising.

        Raises:
            NotImplementedError: the criterion cannot be restricted, see `by_class`.
        """
        if not self.by_class:
            raise NotImplementedError(f"{type(self).__name__} cannot be restricted to some of its classes")
        return self._with_classes(self._rows(classes), features, torch.searchsorted(classes, targets))

    def start_training(self, class_counts: Tensor) -> None:
        """Called before training with the number of training images per class, int64 (C,)."""

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Called before every epoch (counted from 0)."""

    def weigh(self, class_weights: Tensor | None) -> None:
        """Weigh the classes in the loss from now on; called before every epoch of the recipe's loop.

        Args:
            class_weights: (C,), positive, on the criterion's device; None for none.

        Raises:
            ValueError: this criterion takes no class weights, or their number is wrong.
        """
        name = type(self).__name__
        if class_weights is not None and self.weighting != "recipe":
            raise ValueError(f"{name}: class_weights: expected None, which is all it takes, found weights")
        if class_weights is not None and class_weights.shape != (self.num_classes,):
            raise ValueError(
                f"{name}: class_weights: expected shape ({self.num_classes},), "
                f"found {tuple(class_weights.shape)}"
            )
        self.recipe_weights = class_weights

    def proxies(self) -> Tensor | None:
        """One direction per class, (C, in_features), or None where the head has none."""
        return None

    def no_weight_decay(self) -> set[str]:
        """Names of own parameters that weight decay must leave alone (timm's convention)."""
        return set()

    def _rows(self, classes: Tensor) -> dict[str, Tensor]:
        """What is known of `classes`, by the names in `by_class`, and their weights."""
        state = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        names = (*self.by_class, "recipe_weights")
        return {name: state[name][classes] for name in names if name in state}

    def _with_classes(self, rows: dict[str, Tensor], features: Tensor, targets: Tensor) -> Tensor:
        """The loss with `rows` in place of the state by class."""
        everything, self.num_classes = self.num_classes, len(next(iter(rows.values())))
        try:
            loss: Tensor = torch.func.functional_call(self, rows, (features, targets))
            return loss
        finally:
            self.num_classes = everything

    def extra_repr(self) -> str:
        """The constructor's arguments; a subclass appends its own."""
        return f"in_features={self.in_features}, num_classes={self.num_classes}"

    def __repr__(self) -> str:
        """The call that builds such a criterion anew."""
        return f"{type(self).__name__}({self.extra_repr()})"


def one_hot(targets: Tensor, num_classes: int) -> Tensor:
    """Labels (B,) or soft targets (B, C) as float32 soft targets (B, C)."""
    if targets.is_floating_point():
        return targets.float()
    return nn.functional.one_hot(targets, num_classes).float()


def _check_input(module: nn.Module, args: tuple[Tensor, Tensor]) -> None:
    assert isinstance(module, Criterion)
    features, targets = args
    name, width, classes = type(module).__name__, module.in_features, module.num_classes
    if features.ndim != 2 or features.shape[1] != width:
        raise ValueError(f"{name}: features: expected shape (B, {width}), found {tuple(features.shape)}")
    soft = targets.is_floating_point()
    expected = (len(features), classes) if soft else (len(features),)
    if tuple(targets.shape) != expected:
        raise ValueError(f"{name}: targets: expected shape {expected}, found {tuple(targets.shape)}")
    if soft or torch.compiler.is_compiling() or (module._labels_checked and targets.device.type != "cpu"):
        return
    module._labels_checked = True
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < classes:
        raise ValueError(
            f"{name}: targets: expected labels in [0, {classes}), "
            f"found {int(targets.min())} to {int(targets.max())}"
        )


def _check_output(module: nn.Module, args: object, loss: object) -> None:
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"{type(module).__name__}: expected a scalar loss, found {found}")
