"""Class-incremental streams as a suite asks for them: which classes when, learnt by which strategy.

Imports neither torch nor Avalanche: a suite is checked, and its streams are known, without them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from hugbench import registry, signatures
from hugbench.errors import UserError
from hugbench.seeding import derive
from hugbench.suite import strategies
from hugbench.suite.moments import Moment
from hugbench.suite.nodes import Node
from hugbench.suite.plugins import CriterionSpec, arguments_of, canonical, checked
from hugbench.suite.schema import Recipe
from hugbench.types import Frozen, PositiveInt


class StrategySpec(Frozen):
    """A strategy and its arguments.

    Attributes:
        name: registered name.
        target: `module:Class`.
        arguments: every argument, defaults included, as canonical JSON.
        changed: the arguments that differ from their defaults, as canonical JSON.
    """

    name: str
    target: str
    arguments: str = "{}"
    changed: str = "{}"

    def values(self) -> dict[str, Any]:
        """The arguments as keyword arguments."""
        return arguments_of(self.arguments)

    def identity(self) -> dict[str, Any]:
        """What of it changes a trained model."""
        return {"name": self.name, "arguments": json.loads(self.changed)}


class Stream(Frozen):
    """Class-incremental: a stream of experiences, each with classes of its own.

    Beside the arguments stands `strategies`, a list of what `hugbench list strategies` shows, each by its
    name or as `{name: {arguments}}`. `recipe.epochs` are those of one experience.
    """

    experiences: PositiveInt = Field(description="how many; every class is in one of them")
    class_order: Literal["fixed", "seeded"] = Field(
        "seeded", description="seeded: an order of its own for each seed; fixed: the order of the labels"
    )
    remainder: Literal["refuse", "spread", "last"] = Field(
        "refuse",
        description="where the classes do not divide: spread gives one more to each of the first "
        "experiences, last gives what is left over to the last",
    )
    proxies_of_unseen_classes: Literal["repel", "ignore"] = Field(
        "repel",
        description="whether proxies of classes without images so far take part in a criterion that can "
        "leave them out (hug with classes: seen); other criteria train over all classes either way",
    )


class ContinualSpec(Stream):
    """Class-incremental: a stream, and how earlier classes are kept from being forgotten."""

    name: Literal["continual"] = "continual"
    strategy: StrategySpec

    @property
    def label(self) -> str:
        """What records and reports call it: `continual replay(memory=200)`."""
        known = {key: value for key, value in self.strategy.values().items() if value is not None}
        given = ", ".join(f"{key}={value}" for key, value in known.items())
        return f"{self.name} {self.strategy.name}{f'({given})' if given else ''}"

    @property
    def at_once(self) -> bool:
        """Whether all classes come at once, as an upper bound."""
        return strategies.STRATEGIES[self.strategy.name].data == "all"

    def epochs(self, recipe: Recipe) -> int:
        """How many epochs a run is trained for in all; a recipe's are those of one experience."""
        return recipe.epochs if self.at_once else recipe.epochs * self.experiences

    def moments(self, recipe: Recipe) -> tuple[Moment, ...]:
        """Before any training, and after every experience."""
        numbers = (0, self.experiences) if self.at_once else range(self.experiences + 1)
        return tuple(Moment(experience=number) for number in numbers)

    def sliver(self, images: int) -> ContinualSpec:
        """The same stream with a memory that half of so few images can fill."""
        limits = {"memory": images // 2, "memory_batch": max(self.experiences, 16)}
        values = self.strategy.values()
        fewer = {key: min(values[key], most) for key, most in limits.items() if values.get(key) is not None}
        texts = {
            "arguments": canonical({**values, **fewer}),
            "changed": canonical({**arguments_of(self.strategy.changed), **fewer}),
        }
        return self.model_copy(update={"strategy": self.strategy.model_copy(update=texts)})

    def identity(self) -> dict[str, Any]:
        """What of it changes a trained model."""
        stream = self.model_dump(exclude_defaults=True, exclude={"strategy"})
        return {**stream, "name": self.name, "strategy": self.strategy.identity()}


def strategy(name: str, arguments: Node, where: str) -> StrategySpec:
    """The strategy `name` with `arguments` (a mapping node, or null for none).

    Raises:
        UserError: no such strategy, or arguments that it does not take.
    """
    target = registry.lookup("strategy", registry.STRATEGIES, name, where, "protocol.strategy")
    filled = arguments if arguments.value is not None else arguments.with_value({})
    every, changed = checked(filled, signatures.signature(target).schema, name)
    return StrategySpec(name=name, target=target, arguments=every, changed=changed)


def class_sets(spec: ContinualSpec, num_classes: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """The classes of every experience, in the order in which the stream brings them.

    Args:
        spec: the stream.
        num_classes: C, at least 2.
        seed: of the run; draws the order by the axis "class order".

    Raises:
        UserError: more experiences than classes, or a remainder without a rule for it.
    """
    sizes = _sizes(spec, num_classes)
    order = list(range(num_classes))
    if spec.class_order == "seeded":
        order = random.Random(derive(seed, "class order")).sample(order, num_classes)
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    return tuple(tuple(order[end - size : end]) for end, size in zip(ends, sizes, strict=True))


def check_recipe(recipe: Recipe) -> None:
    """Refuse what of a recipe Avalanche's strategies, which have loops of their own, cannot do.

    Raises:
        UserError: mixup, cutmix, ema, fp16, compile, class weights, class-balanced sampling or a random
            resized crop.
    """
    reasons = {
        "mixup": "strategies need whole labels, for memories and for distillation",
        "cutmix": "strategies need whole labels, for memories and for distillation",
        "ema": "a strategy has one model, which it trains and keeps",
        "compile": "a strategy trains in a loop of its own",
        "class_weights": "what is replayed changes how often a class is seen",
    }
    for key, reason in reasons.items():
        if value := getattr(recipe, key):
            raise UserError(
                f"not in a class-incremental stream: {reason}",
                key=f"recipe.{key}",
                found=value,
                expected="the default",
            )
    if recipe.augment.random_resized_crop is not None:
        raise UserError(
            "not in a class-incremental stream: memories hold images in their final size",
            key="recipe.augment.random_resized_crop",
            expected="null, or crop: a number of pixels",
        )
    if recipe.sampling != "natural":
        raise UserError(
            "not in a class-incremental stream: a strategy draws its batches itself",
            key="recipe.sampling",
            found=recipe.sampling,
            expected="natural",
        )
    if recipe.precision == "fp16":
        raise UserError(
            "not in a class-incremental stream: a strategy does not scale its gradients",
            key="recipe.precision",
            found="fp16",
            expected="bf16 or fp32",
        )


def check_criterion(spec: ContinualSpec, criterion: CriterionSpec) -> None:
    """Refuse a strategy that cannot serve the criterion.

    Raises:
        UserError: says what the strategy does instead, and what would do.
    """
    reason = strategies.refusal(spec.strategy.name, criterion)
    if reason is not None:
        raise UserError(
            f"{spec.strategy.name} cannot train {criterion.name}: {reason.why}",
            key="protocol.strategy",
            found=spec.strategy.name,
            expected=reason.expected,
        )


def check_images(spec: ContinualSpec, recipe: Recipe, counts: Sequence[int], seed: int) -> None:
    """Refuse a stream that the training images, or the recipe, do not fit.

    Args:
        spec: the stream.
        recipe: batch_size and drop_last count.
        counts: training images per class, C of them.
        seed: of the run; the class order depends on it.

    Raises:
        UserError: an experience without images or with fewer than a batch, a memory larger than the
            data, or what `class_sets` refuses.
    """
    sets = class_sets(spec, len(counts), seed)
    sizes = [sum(counts[label] for label in classes) for classes in sets]
    for number, size in enumerate(sizes, 1):
        if not size:
            raise UserError(
                f"experience {number} has no training images",
                key="protocol.experiences",
                found=spec.experiences,
                expected="fewer experiences, or another class order",
            )
    _check_memory(spec, recipe, sum(sizes))
    _check_batches(spec, recipe, sizes)


def _sizes(spec: ContinualSpec, num_classes: int) -> list[int]:
    count = spec.experiences
    if count > num_classes:
        raise UserError(
            "more experiences than classes",
            key="protocol.experiences",
            found=count,
            expected=f"at most {num_classes}",
        )
    base, rest = divmod(num_classes, count)
    spread = [base + (index < rest) for index in range(count)]
    last = [base] * (count - 1) + [base + rest]
    if rest and spec.remainder == "refuse":
        divisors = [n for n in range(1, num_classes + 1) if num_classes % n == 0]
        raise UserError(
            f"{num_classes} classes do not divide into {count} experiences",
            key="protocol.experiences",
            found=count,
            expected=f"{', '.join(map(str, divisors))}; or remainder: spread ({_shown(spread)}), "
            f"or remainder: last ({_shown(last)})",
        )
    return last if spec.remainder == "last" else spread


def _shown(sizes: list[int], limit: int = 8) -> str:
    return ", ".join(map(str, sizes)) if len(sizes) <= limit else f"{sizes[0]}, …, {sizes[-1]}"


def _check_memory(spec: ContinualSpec, recipe: Recipe, images: int) -> None:
    values = spec.strategy.values()
    memory = values.get("memory")
    if memory is None:
        return
    if memory > images:
        raise UserError(
            "the memory is larger than the data",
            key="protocol.strategy.memory",
            found=memory,
            expected=f"at most {images}, the number of training images",
        )
    facts = strategies.STRATEGIES[spec.strategy.name]
    if facts.memory == "by experience" and memory < spec.experiences:
        raise UserError(
            f"{spec.strategy.name} divides its memory among the experiences",
            key="protocol.strategy.memory",
            found=memory,
            expected=f"at least {spec.experiences}",
        )
    if "memory_batch" not in values:
        return
    batch = values["memory_batch"] or recipe.batch_size
    if batch > memory:
        raise UserError(
            "a batch from the memory is larger than the memory",
            key="protocol.strategy.memory_batch",
            found=batch,
            expected=f"at most {memory}",
        )
    if facts.memory == "by experience" and batch < spec.experiences:
        raise UserError(
            f"{spec.strategy.name} takes images of every earlier experience into a batch",
            key="protocol.strategy.memory_batch",
            found=batch,
            expected=f"at least {spec.experiences}, the number of experiences",
        )


def _check_batches(spec: ContinualSpec, recipe: Recipe, sizes: list[int]) -> None:
    data = strategies.STRATEGIES[spec.strategy.name].data
    if data == "all":
        sizes = [sum(sizes)]
    elif data == "so far":
        sizes = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    elif data == "memory":
        sizes = [min(spec.strategy.values()["memory"], sum(sizes[: i + 1])) for i in range(len(sizes))]
    for number, size in enumerate(sizes, 1):
        if recipe.batch_size > size:
            raise UserError(
                f"the batch is larger than what experience {number} trains on",
                key="recipe.batch_size",
                found=recipe.batch_size,
                expected=f"at most {size}",
            )
        if not recipe.drop_last and size % recipe.batch_size == 1:
            raise UserError(
                f"the last batch of experience {number} would hold a single image, which batch "
                "normalisation cannot take",
                key="recipe.drop_last",
                found=False,
                expected=f"true, or a batch_size that does not leave 1 of {size} images over",
            )
