"""The training loop: one for every criterion, data set and device.

Every epoch seeds all its generators anew from named axes: data order, augmentation and mixing
have generators of their own, and the global ones, where dropout, stochastic depth and perhaps a
criterion draw, are seeded when the epoch starts. So no generator state outlives an epoch and a
checkpoint holds none; a training that was interrupted and goes on gives the same weights, bit for
bit on the same CPU, as one that was left alone. What a criterion itself carries from epoch to
epoch must be in its `state_dict`.
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

from hugbench.criteria.sphere import widen
from hugbench.criteria.weights import class_weights, first_epoch
from hugbench.data.augment import augment, to_float
from hugbench.data.crops import crops_of
from hugbench.data.images import Images
from hugbench.errors import UserError
from hugbench.seeding import derive, generator, seed_everything
from hugbench.storage import write_atomic
from hugbench.suite.schema import Recipe
from hugbench.training.checkpoint import Checkpoint, load, save
from hugbench.training.learner import Learner
from hugbench.training.metrics import EpochMetrics, Meter
from hugbench.training.mixing import mix
from hugbench.training.sampling import class_balanced
from hugbench.training.schedule import learning_rate

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

    Raises:
        UserError: a batch is larger than the data.
        NonFiniteLoss: the loss became NaN or infinite.
        CorruptFile: the checkpoint is damaged; nothing has been trained.
    """
    if recipe.batch_size > len(images):
        raise UserError(
            "the batch is larger than the data",
            key="recipe.batch_size",
            found=recipe.batch_size,
            expected=f"at most {len(images)}, the number of training images",
        )
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    classifier.to(device).to(memory_format=layout)
    seed_everything(seed, *stage, "start of training")
    classes = classifier.criterion.num_classes
    classifier.criterion.start_training(torch.bincount(images.targets, minlength=classes).to(device))
    learner = Learner(classifier, recipe, device)
    rows = [] if checkpoint is None else _resume(learner, checkpoint)
    write_log(log, rows)
    loop = _Loop(learner, images, recipe, seed, device, stage)
    while len(rows) < recipe.epochs:
        rows.append(loop.epoch(len(rows)))
        keep(len(rows), learner.evaluated())
        if checkpoint is not None:
            save(checkpoint, Checkpoint(learner.state_dict(), [asdict(row) for row in rows]))
        write_log(log, rows)
        on_epoch(rows[-1])
    learner.finish()
    classifier.criterion.weigh(None)
    classifier.to(memory_format=torch.contiguous_format).eval()


@dataclass
class _Loop:
    """What stays the same from epoch to epoch."""

    learner: Learner
    images: Images
    recipe: Recipe
    seed: int
    device: torch.device
    stage: tuple[str | int, ...]

    def __post_init__(self) -> None:
        whole, rest = divmod(len(self.images), self.recipe.batch_size)
        self.steps = whole + (rest > 0 and not self.recipe.drop_last)
        self.meter = Meter(self.steps, self.device)
        self.loss = torch.compile(_loss_and_correct) if self.recipe.compile else _loss_and_correct
        self.weights = None
        if self.recipe.class_weights is not None:
            classes = self.learner.classifier.criterion.num_classes
            counts = torch.bincount(self.images.targets, minlength=classes)
            self.weights = class_weights(counts, self.recipe.class_weights).float().to(self.device)

    def epoch(self, epoch: int) -> EpochMetrics:
        """Train for one epoch, counted from 0."""
        recipe, learner, meter = self.recipe, self.learner, self.meter
        classifier, classes = learner.classifier, learner.classifier.criterion.num_classes
        seed_everything(self.seed, *self.stage, "dropout", epoch)
        order = self._order(epoch)
        augmentation = self._generator("augmentation", epoch, self.device)
        mixing = np.random.default_rng(derive(self.seed, *self.stage, "mixing", epoch))
        batches = self._seen(epoch).batches(recipe.batch_size, self.device, order, recipe.drop_last)
        classifier.train()
        classifier.criterion.start_epoch(epoch, recipe.epochs)
        classifier.criterion.weigh(self._weights(epoch))
        meter.start(epoch)
        for step, (pixels, labels, _) in enumerate(batches, start=epoch * self.steps):
            inputs = to_float(augment(pixels, recipe.augment.batched, augmentation))
            inputs, targets = mix(inputs, labels, classes, recipe, mixing)
            if recipe.channels_last:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            with self._autocast():
                loss, correct = self.loss(classifier, inputs, targets)
            rate = learning_rate(recipe, step, self.steps)
            norm = learner.update(loss, rate, step)
            meter.add(loss, correct, len(labels), rate, norm)
        return meter.finish()

    def _seen(self, epoch: int) -> Images:
        """What an epoch sees of the images: all of each, or a part."""
        crops = crops_of(self.recipe.augment, self.seed, *self.stage, epoch)
        return self.images if crops is None else self.images.cropped(crops)

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


def _loss_and_correct(classifier: Classifier, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and the number of images whose largest logit is at the largest target."""
    features = classifier.features(inputs)
    loss = classifier.loss_of(features, targets)
    with torch.no_grad(), torch.autocast(inputs.device.type, enabled=False):
        predicted = classifier.criterion.logits(widen(features.detach())).argmax(1)
        labels = targets.argmax(1) if targets.is_floating_point() else targets
        return loss, (predicted == labels).sum()


def _resume(learner: Learner, checkpoint: Path) -> list[EpochMetrics]:
    """Put the learner where the checkpoint says, if there is one; the epochs that are finished."""
    if not checkpoint.exists():
        return []
    stored = load(checkpoint)
    learner.load_state_dict(stored.learner)
    return [EpochMetrics(**row) for row in stored.history]


def write_log(log: Path | None, rows: list[EpochMetrics]) -> None:
    if log is None:
        return
    known = ({key: value for key, value in asdict(row).items() if value is not None} for row in rows)
    write_atomic(log, "".join(json.dumps(row, allow_nan=False) + "\n" for row in known).encode())
