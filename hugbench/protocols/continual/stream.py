"""One run of a stream: begun or taken up again, trained experience by experience."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from avalanche.training.templates.base_sgd import PeriodicEval
from torch import Tensor

from hugbench.criteria.hug import HUG
from hugbench.data.images import Images
from hugbench.models import Classifier
from hugbench.protocols.continual.audit import Account, Audit
from hugbench.protocols.continual.base import Parts, Strategy
from hugbench.protocols.continual.conductor import Conductor, Resumption
from hugbench.protocols.continual.loss import Loss
from hugbench.protocols.continual.model import RowModel, Source
from hugbench.protocols.continual.rows import experiences, whole
from hugbench.registry import load_target
from hugbench.suite.continual import ContinualSpec, class_sets
from hugbench.suite.schema import Recipe
from hugbench.suite.strategies import STRATEGIES
from hugbench.training.checkpoint import Checkpoint, load, save
from hugbench.training.loop import write_log
from hugbench.training.metrics import EpochMetrics
from hugbench.training.optimisers import optimiser


class Stream:
    """Everything that a stream needs from its first experience to its last.

    Args:
        classifier: changed in place.
        images: all training images.
        recipe: of every experience.
        spec: the stream.
        seed: of the run.
        device: where to train.
        checkpoint: where to store every epoch; None stores nothing.
        log: of the metrics; None writes none.
        on_epoch: called after every epoch, when checkpoint and log are written.
    """

    def __init__(
        self,
        classifier: Classifier,
        images: Images,
        recipe: Recipe,
        spec: ContinualSpec,
        *,
        seed: int,
        device: torch.device,
        checkpoint: Path | None,
        log: Path | None,
        on_epoch: Callable[[EpochMetrics], None],
    ) -> None:
        self.classifier, self.recipe, self.spec = classifier, recipe, spec
        self.checkpoint, self.log, self.on_epoch = checkpoint, log, on_epoch
        self.facts = STRATEGIES[spec.strategy.name]
        self.strategy = _strategy(spec)
        last = recipe.channels_last and not self.strategy.views_gradients
        self.layout = torch.channels_last if last else torch.contiguous_format
        self.rows: list[EpochMetrics] = []
        self.accounts: list[Account] = []
        self.started: dict[str, Any] = {}

        classifier.to(device).to(memory_format=self.layout)
        classes = class_sets(spec, classifier.criterion.num_classes, seed)
        self.classes = [tuple(label for part in classes for label in part)] if self.joint else list(classes)
        parts = [_rows_of(images.targets, labels) for labels in self.classes]
        experience_of = torch.zeros(len(images), dtype=torch.int64)
        for number, rows in enumerate(parts, 1):
            experience_of[rows] = number
        self.counts = [
            torch.bincount(images.targets[rows], minlength=sum(map(len, classes))) for rows in parts
        ]

        source = Source(images.picker(device), recipe, device)
        self.audit = Audit(experience_of, classifier.criterion)
        model = RowModel(classifier, source, recipe.precision)
        model.watch = self.audit.saw
        self.optimiser = optimiser(classifier, recipe)
        self.conductor = Conductor(
            classifier, source, self.audit, recipe, seed=seed, device=device, finished=self._finished
        )
        data = whole(images.targets)
        self.strategy.attach(
            Parts(
                model=model,
                optimiser=self.optimiser,
                loss=Loss(self.audit),
                plugins=(self.conductor,),
                recipe=recipe,
                device=device,
                data=data,
                experiences=experiences(data, [rows.tolist() for rows in parts]),
            )
        )
        self.resumption = Resumption()
        live = self.strategy.live
        live.plugins = [plugin for plugin in live.plugins if not isinstance(plugin, PeriodicEval)]
        live.plugins.append(self.resumption)

    @property
    def joint(self) -> bool:
        """Whether all classes come at once."""
        return self.spec.at_once

    def resume(self) -> int:
        """Take up what the checkpoint holds, if there is one; how many experiences are finished.

        Raises:
            CorruptFile: the checkpoint is damaged.
        """
        if self.checkpoint is None or not self.checkpoint.exists():
            write_log(self.log, [])
            return 0
        stored = load(self.checkpoint)
        state = stored.learner
        self.rows = [EpochMetrics(**row) for row in stored.history]
        write_log(self.log, self.rows)
        self.accounts = [Account.of(account) for account in state["accounts"]]
        done = len(self.accounts) - 1
        self.strategy.restore(state["started"], done)
        self.strategy.live.clock.train_exp_counter = done
        self.resumption.pending = lambda: self._put_back(state)
        return done

    def train(self, number: int) -> None:
        """Train experience `number`, counted from 1, or what is left of it.

        Raises:
            AuditError: see `Audit.check`.
        """
        live, experience = self.strategy.live, self.strategy.parts.experiences[number - 1]
        self.classifier.to(memory_format=self.layout)
        if self.resumption.pending is None:
            self.accounts.append(self._account(number))
        self.started = self.strategy.stored()
        so_far = torch.stack(self.counts[:number]).sum(0)
        self.conductor.begin(self.strategy, self.accounts[-1], so_far)
        left = self.recipe.epochs * number - len(self.rows)
        self.conductor.epoch = self.recipe.epochs - left
        live.train_epochs = left
        live.train(experience, eval_streams=[], drop_last=self.recipe.drop_last, pin_memory=False)
        self.audit.check(self.spec.strategy.name, self.facts)
        self.optimiser.zero_grad(set_to_none=True)
        self.classifier.to(memory_format=torch.contiguous_format).eval()

    @contextmanager
    def predicting(self) -> Iterator[None]:
        """The classifier as the strategy predicts with it."""
        self.strategy.before_evaluation()
        try:
            yield
        finally:
            self.strategy.after_evaluation()

    def _account(self, number: int) -> Account:
        labels, counts = self.classes[number - 1], self.counts[number - 1]
        ignored = self.spec.proxies_of_unseen_classes == "ignore" and self._can_ignore()
        return Account(
            experience=number,
            classes=list(labels),
            images=int(counts.sum()),
            unseen_proxies="ignored" if ignored else "take part",
        )

    def _can_ignore(self) -> bool:
        criterion = self.classifier.criterion
        return isinstance(criterion, HUG) and criterion.classes == "seen"

    def _finished(self, row: EpochMetrics) -> None:
        """Store an epoch."""
        self.rows.append(row)
        if self.checkpoint is not None:
            learner = {
                "model": self.classifier.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "started": self.started,
                "current": self.strategy.current(),
                "accounts": [account.plain() for account in self.accounts],
            }
            save(self.checkpoint, Checkpoint(learner, [asdict(done) for done in self.rows]))
        write_log(self.log, self.rows)
        self.on_epoch(row)

    def _put_back(self, state: dict[str, Any]) -> None:
        """Make model, optimiser and strategy what they were after the last epoch."""
        self.classifier.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.strategy.restore_current(state["current"])


def _rows_of(targets: Tensor, labels: tuple[int, ...]) -> Tensor:
    """Where the labels are, rising."""
    return torch.isin(targets, torch.tensor(labels)).nonzero().flatten()


def _strategy(spec: ContinualSpec) -> Strategy:
    made: Strategy = load_target(spec.strategy.target)(**spec.strategy.values())
    return made
