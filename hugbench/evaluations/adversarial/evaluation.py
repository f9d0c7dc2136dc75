"""Robust accuracy: the worst case over attacks from cheap to dear, with a card that says what it is worth."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor

from hugbench import __version__
from hugbench.evaluations.adversarial.attacks import Attack
from hugbench.evaluations.adversarial.card import examine
from hugbench.evaluations.adversarial.cascade import Cascade, Stage, look
from hugbench.evaluations.adversarial.catalogue import KINDS, Norm
from hugbench.evaluations.adversarial.evidence import Check
from hugbench.evaluations.adversarial.figures import Figures, above, worst
from hugbench.evaluations.adversarial.ladder import WORST, Rung, bound, effective, rungs
from hugbench.evaluations.adversarial.ledger import Ledger
from hugbench.evaluations.adversarial.sample import Sample, balanced
from hugbench.evaluations.adversarial.scales import scales as suitable_scales
from hugbench.evaluations.adversarial.victim import Victim
from hugbench.evaluations.base import Findings, Setting
from hugbench.evaluations.identity import split_sha256, weights_sha256
from hugbench.models import Classifier, evaluating
from hugbench.seeding import derive
from hugbench.types import Eps, NonNegativeInt, Positive, PositiveInt, eps_value

SILENCE = 60.0
"""Seconds between two sentences of progress."""


def adversarial(
    classifier: Classifier,
    setting: Setting,
    *,
    attack: Literal["screen", "standard", "autoattack"] | None = None,
    attacks: tuple[str | dict[str, dict[str, Any] | None], ...] = (),
    norm: Literal["Linf", "L2"] = "Linf",
    eps: tuple[Eps, ...] = ("0.5/255", "1/255", "2/255"),
    max_images: PositiveInt | None = None,
    scales: tuple[Positive, ...] = (),
    card_images: PositiveInt = 200,
    seed: NonNegativeInt = 0,
) -> Findings:
    """Robust accuracy: the fraction of test images that no attack within eps gets misclassified.

    robust_accuracy: condition `standard Linf 2/255`; the worst case of every image over all attacks.
        Images that are misclassified as they are count as fooled; one that is fooled at an eps is fooled at
        every larger one. Over all images, and over those of a group of classes as in `accuracy`.
        reliability is the verdict of the figure's card. Where several attacks have figures of their own,
        the card is that of their worst case, and a figure is no better than how far it is above that.
    accuracy: of the same images without an attack.

    attack is one of three ladders; each is the beginning of the next, and each attack sees what the
    cheaper ones left. screen: PGD of 5 steps, PGD of 10 on the margin, APGD-CE of 20. standard (the default)
    adds APGD-T of 20 steps towards 3 classes, APGD-CE of 100, APGD-T of 100 towards 3 classes. autoattack
    goes on to AutoAttack's budget: APGD-T of 100 towards 9 classes, FAB-T of 100 towards 9, Square of 5,000
    queries. Or attacks names them (`[fgsm, {pgd: {steps: 50}}]`): each attacks all images that are
    classified correctly and has its own figures, and several have a `worst case` together.

    Attacks that follow the cross-entropy depend on the scale of the logits: where these are cosines, its
    gradient at scale 1 hides what margins show (robust accuracy 2 to 5 points too high). They attack at
    several scales, chosen for each classifier by one rule, and the least robust outcome counts.

    In a class-incremental stream the classes seen so far are in play, the others cut out of the logits
    (all, before the first experience); images of classes that are not in play count as wrong. Nothing
    attacks while a single class is in play.

    Predictions: condition, eps, index, target and prediction (labels; of the clean image), fooled,
    fooled_by (empty, clean, or the attack that was first), margin (logit of the target minus the largest
    other one, the smallest that was found; NaN for classes that are not in play). Details: the attacks in
    order with their images, victims and batches, the scales, the cards.

    Args:
        classifier: a trained one, on the setting's device; it is left as it was.
        setting: the data and the device; its scratch folder makes the evaluation restartable.
        attack: a ladder.
        attacks: or single attacks; `hugbench.evaluations.adversarial.catalogue` has them.
        norm: of the ball.
        eps: its radii, for images in [0, 1].
        max_images: attack a subset of the test images with as many of each class, the same for every
            criterion and seed; null: all.
        scales: further scales of the logits, beside 1; none: by the rule.
        card_images: how many of the images the cards examine.
        seed: of subsets and attacks; the same for every run.

    Source:
        Croce, Hein, ICML 2020, arXiv 2003.01690 (AutoAttack).
    """
    asked = rungs(attack, attacks, norm)
    with evaluating(classifier):
        work = _Work(classifier, setting, asked, norm, _ascending(eps), max_images, scales, card_images, seed)
        return work.findings()


@dataclass(frozen=True)
class _Work:
    """The steps of one evaluation."""

    classifier: Classifier
    setting: Setting
    asked: tuple[Rung, ...]
    norm: Norm
    eps: tuple[str, ...]
    max_images: int | None
    scales: tuple[float, ...]
    card_images: int
    seed: int

    def findings(self) -> Findings:
        """All of it."""
        setting, victim = self.setting, Victim(self.classifier, self._classes())
        images = setting.dataset.test
        indices = balanced(images.targets, self.max_images, self.seed)
        sample = Sample.of(victim, images, indices, self.card_images, self.seed, setting.device)
        scales = self._scales(victim, sample)
        stages = self._stages(victim, scales)
        reference = self._reference(victim)
        ledger = Ledger(
            None if setting.scratch is None else setting.scratch / "adversarial",
            self._head(victim, indices, stages, reference),
        )
        clean = look(victim, images, indices, setting.batch_size, setting.device)
        labels = tuple(dict.fromkeys(rung.label for rung in self.asked))
        tell = _sparsely(setting.tell)
        cascade = Cascade(
            victim,
            stages,
            labels,
            self.eps,
            ledger,
            self.seed,
            setting.batch_size,
            setting.device,
            tell,
            setting.pause,
        )
        standings, costs = cascade.run(clean)
        least = {eps: worst([standings[label, eps] for label in labels]) for eps in self.eps}
        examined = victim.num_classes > 1 and len(sample.indices)
        cards = {
            eps: self._card(victim, sample, eps, least[eps].robust[sample.among(indices)], reference, ledger)
            for eps in (self.eps if examined else ())
        }
        alone: dict[tuple[str, str], Check] = {}
        if len(labels) > 1:
            if examined:
                alone = {place: above(standing, least[place[1]]) for place, standing in standings.items()}
            standings = {**{(WORST, eps): least[eps] for eps in self.eps}, **standings}
        figures = Figures(self.norm, clean, standings, cards, alone)
        told = bound(self.asked) if examined else "no attack was made: there is no other class in play"
        details = {
            "norm": self.norm,
            "images": len(indices),
            "classes": victim.num_classes,
            "scales": list(scales),
            "stages": costs,
            "cards": [
                {"norm": self.norm, "eps": of, "images": len(sample.indices), **card}
                for of, card in cards.items()
            ],
            "alone": [{"attack": of, "eps": eps, **asdict(check)} for (of, eps), check in alone.items()],
            "bound": told,
        }
        return Findings(
            figures.measurements(setting.groups()),
            figures.predictions(stages),
            [told, *figures.complaints()],
            details,
        )

    def _classes(self) -> Tensor | None:
        """The classes in play, ascending; None for all."""
        seen = self.setting.seen
        return None if seen is None or not len(seen) else seen.sort().values

    def _scales(self, victim: Victim, sample: Sample) -> tuple[float, ...]:
        """What the logits are multiplied with: 1, and what the suite or the rule says."""
        if not any(KINDS[rung.name].by_scale for rung in self.asked) or not len(sample.indices):
            return (1.0,)
        further = self.scales
        if not further and victim.num_classes > 1:
            further = suitable_scales(victim, sample.images, sample.targets)
        return tuple(dict.fromkeys((1.0, *map(float, further))))

    def _stages(self, victim: Victim, scales: tuple[float, ...]) -> list[Stage]:
        """Every attack at every scale that it depends on; none with a single class in play."""
        if victim.num_classes < 2:
            return []
        return [
            Stage(
                Attack(rung.name, self.norm, rung.given, scale),
                rung.label,
                rung.text if scale == 1 else f"{rung.text}, logits x {scale:.3g}",
            )
            for rung in self.asked
            if effective(rung, victim.num_classes)
            for scale in (scales if KINDS[rung.name].by_scale else (1.0,))
        ]

    def _reference(self, victim: Victim) -> Victim | None:
        """The paired baseline with the same classes in play."""
        found = self.setting.reference()
        return None if found is None else Victim(found, victim.classes)

    def _head(
        self, victim: Victim, indices: Tensor, stages: list[Stage], reference: Victim | None
    ) -> dict[str, Any]:
        """What the answers are of, and the plan: see `Ledger`."""
        dataset = self.setting.dataset
        classes = victim.classes
        return {
            "version": __version__,
            "weights": weights_sha256(self.classifier),
            "images": [dataset.checksum, split_sha256(dataset.test)],
            "classes": None if classes is None else classes.tolist(),
            "seed": self.seed,
            "asked": hashlib.sha256(indices.numpy().tobytes()).hexdigest(),
            "norm": self.norm,
            "eps": list(self.eps),
            "stages": [[stage.label, stage.attack.identity] for stage in stages],
            "batch_size": self.setting.batch_size,
            "card_images": self.card_images,
            "reference": None if reference is None else weights_sha256(reference.classifier),
        }

    def _card(
        self,
        victim: Victim,
        sample: Sample,
        eps: str,
        robust: Tensor,
        reference: Victim | None,
        ledger: Ledger,
    ) -> Mapping[str, Any]:
        """The card of the worst case at an eps, from the ledger if it is there."""
        name = f"card {eps}"
        if ledger.noted(name) is None:
            card = examine(
                victim,
                sample.images,
                sample.targets,
                norm=self.norm,
                eps=eps_value(eps),
                robust=robust.to(self.setting.device),
                seed=derive(self.seed, "card", eps),
                reference=reference,
            )
            ledger.note(name, card.to_json())
        found: Mapping[str, Any] = ledger.noted(name)
        return found


def _ascending(eps: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(eps, key=eps_value))


def _sparsely(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Told at most once in a while."""
    last = time.monotonic()

    def told(sentence: str) -> None:
        nonlocal last
        if time.monotonic() - last >= SILENCE:
            last = time.monotonic()
            tell(f"adversarial: {sentence}")

    return told
