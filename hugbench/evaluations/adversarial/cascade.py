"""Attacks from cheap to dear over one pool of survivors, re-packed into full batches before each.

An image that is misclassified when clean is fooled at eps 0; one that is fooled at an eps is fooled at
every larger one. So a dear attack sees only what nothing cheaper has fooled, and robust accuracy is the
worst case of every image over all attacks. Images stream by in batches; of each only its number, its
margin and who fooled it are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from hugbench.data.augment import to_float
from hugbench.data.images import Images
from hugbench.evaluations.adversarial.attacks import Attack
from hugbench.evaluations.adversarial.ledger import Answers, Ledger, Trial
from hugbench.evaluations.adversarial.victim import Victim, fooled, margins
from hugbench.seeding import derive
from hugbench.types import eps_value

CLEAN, STANDS = 0, -1
"""Who fooled an image: nobody had to, nobody could; stage k of the plan is k + 1."""


@dataclass(frozen=True)
class Stage:
    """One attack of a plan.

    Attributes:
        attack: with its scale.
        label: whom its victims count for. A stage attacks what no stage before it of the same label
            has fooled.
        name: what it is called where its victims are told, e.g. `apgd_ce 20 steps, logits x 16`.
    """

    attack: Attack
    label: str
    name: str


@dataclass(frozen=True)
class Clean:
    """The images of an evaluation and how the clean ones fare.

    Attributes:
        images: the split.
        indices: places in the split, int64 (N,), ascending.
        targets: labels, int64 (N,).
        predictions: labels given to the clean images, int64 (N,).
        margins: of the clean images, float32 (N,); NaN where the class is not in play.
    """

    images: Images
    indices: Tensor
    targets: Tensor
    predictions: Tensor
    margins: Tensor

    @property
    def hits(self) -> Tensor:
        """Which clean images are classified as what they are, bool (N,)."""
        return self.predictions == self.targets


@dataclass
class Standing:
    """How every image stands under one label at one eps: `by` int64 (N,), `margins` float32 (N,).

    `by` is STANDS, CLEAN or 1 + the place of the stage that fooled it first; `margins` the smallest
    that was found.
    """

    by: Tensor
    margins: Tensor

    @classmethod
    def of(cls, clean: Clean) -> Standing:
        """Before any attack."""
        return cls(torch.where(clean.hits, STANDS, CLEAN), clean.margins.clone())

    @property
    def robust(self) -> Tensor:
        """Which images nothing has fooled, bool (N,)."""
        return self.by == STANDS

    def take(self, places: Tensor, answers: Answers, stage: int) -> None:
        """What a stage came to, on the images at `places`, int64 (n,)."""
        self.margins[places] = torch.fmin(self.margins[places], answers.margins)
        new = places[answers.fooled & self.robust[places]]
        self.by[new] = stage + 1


def look(victim: Victim, images: Images, indices: Tensor, batch_size: int, device: torch.device) -> Clean:
    """The one pass over the clean images.

    Args:
        victim: in evaluation mode, at scale 1.
        images: the split.
        indices: which of it, int64 (N,), ascending.
        batch_size: how many at a time.
        device: the victim's.
    """
    predictions, found = [], []
    classes = victim.classes
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for pixels, targets, _ in images.batches(batch_size, device, indices):
            logits = victim(to_float(pixels))
            predicted = logits.argmax(dim=1)
            predictions.append((predicted if classes is None else classes.to(device)[predicted]).cpu())
            found.append(_margins_of(victim, logits, targets).cpu())
    return Clean(images, indices, images.targets[indices], torch.cat(predictions), torch.cat(found))


def _margins_of(victim: Victim, logits: Tensor, targets: Tensor) -> Tensor:
    """Margins; NaN where the label is not in play, infinite where it is the only one."""
    among = _in_play(victim, targets)
    found = torch.full_like(logits[:, 0], torch.nan)
    found[among] = margins(logits[among], victim.place(targets[among]))
    return found


def _in_play(victim: Victim, targets: Tensor) -> Tensor:
    if victim.classes is None:
        return torch.ones_like(targets, dtype=torch.bool)
    return torch.isin(targets, victim.classes.to(targets.device))


@dataclass(frozen=True)
class Cascade:
    """A plan and what it needs.

    Attributes:
        victim: in evaluation mode, at scale 1.
        stages: from cheap to dear.
        labels: theirs; one without a stage keeps to the clean images.
        eps: radii as they are written, ascending.
        ledger: what has been tried.
        seed: of the evaluation; that of a batch is derived from it, the attack, the eps and the batch's
            number.
        batch_size: how many images at a time.
        device: the victim's.
        tell: is called with a sentence of progress.
        pause: is called after every batch, when the ledger holds it; may raise, to stop there.
    """

    victim: Victim
    stages: Sequence[Stage]
    labels: Sequence[str]
    eps: Sequence[str]
    ledger: Ledger
    seed: int
    batch_size: int
    device: torch.device
    tell: Callable[[str], None] = lambda sentence: None
    pause: Callable[[], None] = lambda: None

    def run(self, clean: Clean) -> tuple[dict[tuple[str, str], Standing], list[dict[str, Any]]]:
        """How every image stands, by label and eps, and what every stage cost, as plain data."""
        standings = {(label, eps): Standing.of(clean) for label, eps in product(self.labels, self.eps)}
        costs = []
        for number, (place, eps) in enumerate(product(range(len(self.stages)), self.eps)):
            label = self.stages[place].label
            beyond = [standings[label, larger] for larger in self.eps[self.eps.index(eps) :]]
            costs.append(self._round(clean, number, place, eps, beyond))
        return standings, costs

    def _round(
        self, clean: Clean, number: int, place: int, eps: str, standings: Sequence[Standing]
    ) -> dict[str, Any]:
        """One attack at one eps on all that stand; standings are those at this eps and at larger ones."""
        stage = self.stages[place]
        trial = Trial(stage.attack.identity, stage.attack.norm, eps)
        rows = standings[0].robust.nonzero().flatten()
        pool = clean.indices[rows]
        known, done = self.ledger.begin(number, trial, pool)
        left = pool[~torch.isin(pool, known.images)]
        fresh = self._attack(clean, stage, trial, left, done, number)
        answers = Answers.joined([known, fresh])
        where = rows[torch.searchsorted(pool, answers.images)]
        for standing in standings:
            standing.take(where, answers, place)
        told = {"stage": stage.name, "label": stage.label, "eps": eps, "identity": stage.attack.identity}
        counts = {"images": len(pool), "fooled": int(answers.fooled.sum())}
        return {**told, **counts, **self.ledger.cost(number)}

    def _attack(
        self, clean: Clean, stage: Stage, trial: Trial, left: Tensor, done: int, number: int
    ) -> Answers:
        """Attack the images at `left` of the split, in batches from number `done` on."""
        found: list[Answers] = []
        if not len(left):
            return Answers.none()
        batches = clean.images.batches(self.batch_size, self.device, left)
        with torch.random.fork_rng(devices=[]):
            for batch, (pixels, labels, indices) in enumerate(batches, done):
                seed = derive(self.seed, "adversarial", trial.attack, trial.eps, batch)
                answers = self._batch(stage.attack, to_float(pixels), labels, indices, trial, seed)
                self.ledger.add(number, trial, stage.attack.arguments.get("steps"), answers)
                found.append(answers)
                tried = min(len(found) * self.batch_size, len(left))
                self.tell(f"{stage.name} at {trial.norm} {trial.eps}: {tried:,} of {len(left):,} images")
                self.pause()
        return Answers.joined(found)

    def _batch(
        self, attack: Attack, images: Tensor, labels: Tensor, indices: Tensor, trial: Trial, seed: int
    ) -> Answers:
        targets = self.victim.place(labels)
        adversarial = attack(self.victim, images, targets, eps_value(trial.eps), seed=seed)
        with torch.no_grad():
            logits = self.victim(adversarial)
        return Answers(indices, fooled(logits, targets).cpu(), margins(logits, targets).cpu())
