"""The training loop: one for every criterion, data set and device.

Every epoch seeds all its generators anew from named axes: data order, augmentation and mixing
have generators of their own, and the global ones, where dropout, stochastic depth and perhaps a
criterion draw, are seeded when the epoch starts. So no generator state outlives an epoch and a
checkpoint holds none; a training that was interrupted and goes on gives the same weights, bit for
bit on the same CPU, as one that was left alone. What a criterion itself carries from epoch to
epoch must be in its `state_dict`.

Several processes (`hugbench.training.ranks`) train as one would, up to rounding: `batch_size` is that of
the batch they share, order, augmentation and mixing are drawn for all of it, and batch norms and the
criterion go over all of it. Only dropout and stochastic depth draw on each rank for itself. The first
rank stores, logs and keeps; its checkpoint is where the others start, and may come from any number of
processes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hugbench.criteria.weights import class_weights, first_epoch
from hugbench.data.augment import augment, to_float
from hugbench.data.crops import crops_of
from hugbench.data.images import Images
from hugbench.errors import UserError
from hugbench.seeding import derive, generator, seed_everything
from hugbench.storage import write_atomic
from hugbench.suite.schema import Recipe
from hugbench.training.batches import Batch, batches, check_ranks
from hugbench.training.checkpoint import Checkpoint, load, save
from hugbench.training.learner import Learner
from hugbench.training.metrics import EpochMetrics, Meter
from hugbench.training.mixing import mix
from hugbench.training.normalisation import synchronised
from hugbench.training.ranks import ALONE, Ranks
from hugbench.training.sampling import class_balanced
from hugbench.training.schedule import learning_rate
from hugbench.training.step import SharedStep, Step, judged

if TYPE_CHECKING:
    from hugbench.models import Classifier

__all__ = ["EpochMetrics", "train"]

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def train(
    classifier: Classifier,
    images: Images,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    log: Path | None = None,
    on_epoch: Callable[[EpochMetrics], None] = lambda row: None,
    keep: Callable[[int, Classifier], None] = lambda epochs, classifier: None,
    stage: tuple[str | int, ...] = (),
    ranks: Ranks = ALONE,
) -> None:
    """Train `classifier` on `images`; afterwards it is on `device`, in evaluation mode.

    With `checkpoint` the training goes on after the last finished epoch that is stored there, and
    stores every epoch; the file is left behind. `log` holds one line of JSON per finished epoch
    and always agrees with the checkpoint. The global generators of python, NumPy and torch are
    reseeded.

    Args:
        classifier: changed in place.
        images: N images; their labels are the classes of the classifier's criterion.
        recipe: how to train.
        seed: of the run.
        device: where to train.
        checkpoint: file to resume from and to store in; None stores nothing.
        log: file of the metrics; None writes none.
        on_epoch: called after every epoch, when checkpoint and log are written.
        keep: called after every epoch, before its checkpoint is written, with the number of finished
            epochs and the classifier that would be evaluated (the moving average, where there is one).
        stage: in front of the name of every random axis, e.g. ("experience", 3).
        ranks: who trains together, within `Ranks.training`. On all but the first rank `checkpoint` and
            `log` are None and `on_epoch` and `keep` do nothing.

    Raises:
        UserError: a batch is larger than the data, or cannot be shared by so many ranks.
        NonFiniteLoss: the loss became NaN or infinite.
        CorruptFile: the checkpoint is damaged; nothing has been trained.
        RankFailed: an error on some ranks only.
        LedAway: on other ranks than the first, which has raised an error of its own.
    """
    if recipe.batch_size > len(images):
        raise UserError(
            "the batch is larger than the data",
            key="recipe.batch_size",
            found=recipe.batch_size,
            expected=f"at most {len(images)}, the number of training images",
        )
    check_ranks(recipe, len(images), ranks.count)
    with ranks.together():
        learner = _start(classifier, images, recipe, seed, device, stage)
    with ranks.led():
        stored = load(checkpoint) if checkpoint is not None and checkpoint.exists() else None
    with synchronised(classifier, classifier.criterion, ranks):
        with ranks.together():
            rows = _resume(learner, ranks.tell(stored))
            loop = _Loop(learner, images, recipe, seed, device, stage, ranks)
        with ranks.led():
            write_log(log, rows)
        while len(rows) < recipe.epochs:
            with ranks.together():
                rows.append(loop.epoch(len(rows)))
                ranks.align(classifier)
            with ranks.led():
                keep(len(rows), learner.evaluated())
                if checkpoint is not None:
                    save(checkpoint, Checkpoint(learner.state_dict(), [asdict(row) for row in rows]))
                write_log(log, rows)
                on_epoch(rows[-1])
    learner.finish()
    classifier.criterion.weigh(None)
    classifier.to(memory_format=torch.contiguous_format).eval()


def _start(
    classifier: Classifier,
    images: Images,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    stage: tuple[str | int, ...],
) -> Learner:
    """The classifier on its device and told of the data, with all that trains it."""
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    classifier.to(device).to(memory_format=layout)
    seed_everything(seed, *stage, "start of training")
    classes = classifier.criterion.num_classes
    classifier.criterion.start_training(torch.bincount(images.targets, minlength=classes).to(device))
    return Learner(classifier, recipe, device)


@dataclass
class _Loop:
    """What stays the same from epoch to epoch."""

    learner: Learner
    images: Images
    recipe: Recipe
    seed: int
    device: torch.device
    stage: tuple[str | int, ...]
    ranks: Ranks

    def __post_init__(self) -> None:
        whole, rest = divmod(len(self.images), self.recipe.batch_size)
        self.steps = whole + (rest > 0 and not self.recipe.drop_last)
        self.meter = Meter(self.steps, self.device)
        self.step = _step(self.learner.classifier, self.recipe.compile, self.ranks)
        self.weights = None
        if self.recipe.class_weights is not None:
            classes = self.learner.classifier.criterion.num_classes
            counts = torch.bincount(self.images.targets, minlength=classes)
            self.weights = class_weights(counts, self.recipe.class_weights).float().to(self.device)

    def epoch(self, epoch: int) -> EpochMetrics:
        """Train for one epoch, counted from 0."""
        recipe, learner, meter = self.recipe, self.learner, self.meter
        classifier = learner.classifier
        seed_everything(self.seed, *self.stage, "dropout", epoch)
        self.step.seed(self.seed, *self.stage, "dropout", epoch)
        augmentation = self._generator("augmentation", epoch, self.device)
        mixing = np.random.default_rng(derive(self.seed, *self.stage, "mixing", epoch))
        classifier.train()
        classifier.criterion.start_epoch(epoch, recipe.epochs)
        classifier.criterion.weigh(self._weights(epoch))
        meter.start(epoch)
        found = batches(self._seen(epoch), self._order(epoch), recipe, self.device, self.ranks)
        for step, batch in enumerate(found, start=epoch * self.steps):
            inputs, targets = self._inputs(batch, augmentation, mixing)
            with self._autocast():
                loss, correct = self.step(inputs, targets)
            rate = learning_rate(recipe, step, self.steps)
            norm = learner.update(loss, rate, step)
            meter.add(loss, correct, len(targets), rate, norm)
        return meter.finish()

    def _seen(self, epoch: int) -> Images:
        """What an epoch sees of the images: all of each, or a part."""
        crops = crops_of(self.recipe.augment, self.seed, *self.stage, epoch)
        return self.images if crops is None else self.images.cropped(crops)

    def _inputs(
        self, batch: Batch, augmentation: torch.Generator, mixing: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Augmented and mixed: this process's images and the targets of the whole batch."""
        recipe, classes = self.recipe, self.learner.classifier.criterion.num_classes
        inputs = to_float(augment(batch.pixels, recipe.augment.batched, augmentation, batch.part))
        inputs, targets = mix(inputs, batch.labels, classes, recipe, mixing, preceded=batch.shared)
        if recipe.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return inputs, targets

    def _order(self, epoch: int) -> Tensor:
        """The images of an epoch, int64 (N,): each once, or drawn so that classes are equally likely."""
        recipe, draw = self.recipe, self._generator("data order", epoch)
        start = first_epoch(recipe.sampling_after, recipe.epochs)
        if recipe.sampling == "natural" or epoch < start:
            return torch.randperm(len(self.images), generator=draw)
        return class_balanced(self.images.targets, draw)

    def _weights(self, epoch: int) -> Tensor | None:
        """The class weights of an epoch, (C,); None where all classes weigh the same."""
        wanted = self.recipe.class_weights
        if wanted is None or epoch < first_epoch(wanted.after, self.recipe.epochs):
            return None
        return self.weights

    def _generator(self, axis: str, epoch: int, device: torch.device | str = "cpu") -> torch.Generator:
        return generator(self.seed, *self.stage, axis, epoch, device=device)

    def _autocast(self) -> torch.autocast:
        dtype = AUTOCAST.get(self.recipe.precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)


def _step(classifier: Classifier, compiled: bool, ranks: Ranks) -> Step:
    if not ranks.alone:
        return SharedStep(classifier, ranks, compiled)
    return Step(classifier, torch.compile(_loss_and_correct) if compiled else _loss_and_correct)


def _loss_and_correct(classifier: Classifier, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and the number of images whose largest logit is at the largest target."""
    return judged(classifier, classifier.features(inputs), targets)


def _resume(learner: Learner, stored: Checkpoint | None) -> list[EpochMetrics]:
    """Put the learner where a checkpoint says, if there is one; the epochs that are finished."""
    if stored is None:
        return []
    learner.load_state_dict(stored.learner)
    return [EpochMetrics(**row) for row in stored.history]


def write_log(log: Path | None, rows: list[EpochMetrics]) -> None:
    if log is None:
        return
    known = ({key: value for key, value in asdict(row).items() if value is not None} for row in rows)
    write_atomic(log, "".join(json.dumps(row, allow_nan=False) + "\n" for row in known).encode())
