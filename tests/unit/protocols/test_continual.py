"""Streams end to end: what is kept, what the criterion gets, and the loops they must equal."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hugbench.criteria.base import Criterion
from hugbench.criteria.contrast import NTCE, SupCon
from hugbench.criteria.frames import MaximumClassSeparation
from hugbench.criteria.hug import HUG
from hugbench.criteria.long_tail import BalancedSoftmax
from hugbench.criteria.softmax import CrossEntropy
from hugbench.data.augment import augment, to_float
from hugbench.errors import NonFiniteLoss, UserError
from hugbench.seeding import generator
from hugbench.suite.continual import class_sets
from hugbench.suite.strategies import STRATEGIES as FACTS
from hugbench.training.loop import train
from hugbench.training.metrics import EpochMetrics
from tests.unit.protocols.streams import (
    CLASSES,
    STRATEGIES,
    WIDTH,
    classifier,
    data,
    files,
    learn,
    recipe,
    same,
    spec,
    weights,
)

ANY_CRITERION = [text for text in STRATEGIES if FACTS[text.partition(":")[0]].new == "criterion"]


@pytest.mark.parametrize("criterion", ["cross_entropy", "hug"])
@pytest.mark.parametrize("text", STRATEGIES)
def test_every_strategy_does_with_the_criterion_what_it_promises(
    text: str, criterion: str, device: torch.device
) -> None:
    """An account that differs from the table raises; here its numbers are looked at besides."""
    facts = FACTS[text.partition(":")[0]]
    if facts.new == "never" and criterion != "cross_entropy":
        pytest.skip("refused, see test_a_criterion_that_does_not_fit_is_refused_at_the_start")
    made = classifier(criterion)
    before = weights(made)
    kept, accounts = learn(made, spec(text, experiences=2), device=device)
    assert kept == ([2] if facts.data == "all" else [1, 2])
    assert not made.training
    assert all(parameter.grad is None for parameter in made.parameters())
    assert not torch.equal(before["backbone.0.weight"], weights(made)["backbone.0.weight"])
    for account in accounts:
        later = account["experience"] > 1
        own = {"criterion": False, "first experience": later, "never": True}[facts.new]
        assert (account["own_loss_new"] > 0) == own
        assert (account["criterion_new"] > 0) == (not own)
        replayed = account["criterion_replayed"] + account["own_loss_replayed"]
        assert (replayed > 0) == (later and facts.replayed != "none")
        assert (account["criterion_replayed"] > 0) == (later and facts.replayed == "criterion")
        assert account["head_is_live"]
        assert account["head_in_optimizer"]
        assert account["head_gradient"] > 0
    epochs = 72 // 8 * 8 * 2
    if (
        facts.data == "experience"
        and facts.new == "criterion"
        and "reservoir" not in text
        and "ace" not in text
    ):
        assert [account["criterion_new"] for account in accounts] == [epochs, epochs]


def test_accounts_are_plain_data() -> None:
    _, accounts = learn(classifier(), spec("replay: {memory: 20}"))
    assert json.loads(json.dumps(accounts)) == accounts
    assert [account["images"] for account in accounts] == [48, 48, 48]
    assert sorted(label for account in accounts for label in account["classes"]) == list(range(CLASSES))


@pytest.mark.parametrize("drop_last", [True, False])
def test_naive_is_the_obvious_loop(drop_last: bool, device: torch.device) -> None:
    made, plain = classifier(), classifier().to(device).train()
    how = recipe(
        batch_size=9,
        schedule="cosine",
        augment={"crop": 1, "flip": True},
        weight_decay=0.01,
        clip_grad=1.0,
        drop_last=drop_last,
    )
    rows: list[EpochMetrics] = []
    learn(made, spec("naive"), recipe=how, seed=3, device=device, on_epoch=rows.append)

    images = data().train
    pixels = images.picker(device)(torch.arange(len(images)))
    optimiser = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    steps = 48 // 9 + (not drop_last)
    for number, labels in enumerate(class_sets(spec("naive"), CLASSES, 3), 1):
        mine = torch.tensor([i for i, label in enumerate(images.targets.tolist()) if label in labels])
        for epoch in range(2):
            draw = generator(3, "experience", number, "augmentation", epoch, device=device)
            order = mine[
                torch.randperm(48, generator=generator(3, "experience", number, "data order", epoch))
            ]
            total = 0.0
            for step, batch in enumerate(order.split(9)[:steps]):
                rate = 0.025 * (
                    1 + torch.tensor((epoch * steps + step) / (2 * steps) * torch.pi).cos().item()
                )
                for group in optimiser.param_groups:
                    group["lr"] = rate
                inputs = to_float(augment(pixels[batch.to(device)], how.augment, draw))
                loss = nn.functional.cross_entropy(plain(inputs), images.targets[batch].to(device))
                total += loss.item() * len(batch)
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
                optimiser.step()
            row = rows[(number - 1) * 2 + epoch]
            assert row.epoch == (number - 1) * 2 + epoch
            assert row.loss == pytest.approx(total / min(48, steps * 9), rel=1e-3)
    torch.testing.assert_close(weights(made), weights(plain), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("criterion", ["cross_entropy", "hug"])
def test_joint_is_standard_training(criterion: str, device: torch.device) -> None:
    joint, standard = classifier(criterion, drop=0.2), classifier(criterion, drop=0.2)
    how = recipe(augment={"flip": True}, schedule="one_cycle")
    learn(joint, spec("joint"), recipe=how, device=device)
    train(standard, data().train, how, seed=0, device=device, stage=("experience", 1))
    if device.type == "cpu":
        assert same(joint, standard)
    else:
        torch.testing.assert_close(weights(joint), weights(standard), rtol=1e-2, atol=1e-3)


def test_the_first_experience_is_standard_training_on_its_images() -> None:
    stream = spec("naive", class_order="fixed")
    plain, found = classifier("hug"), {}
    learn(classifier("hug"), stream, keep=lambda number, now: found.update({number: copy.deepcopy(now)}))
    images = data().train
    first = images.subset((images.targets < 2).nonzero().flatten())
    train(plain, first, recipe(), seed=0, device=torch.device("cpu"), stage=("experience", 1))
    assert same(found[1], plain)


def test_cumulative_goes_through_everything_so_far() -> None:
    _, accounts = learn(classifier(), spec("cumulative"))
    assert [account["criterion_replayed"] for account in accounts] == [0, 96, 192]


def test_the_stream_does_not_depend_on_the_criterion() -> None:
    """Both see the same images in the same order, whatever the criterion draws for itself."""

    class Drawing(CrossEntropy):
        def forward(self, features: Tensor, targets: Tensor) -> Tensor:
            seen.append(targets.tolist())
            torch.rand(len(seen) % 3)
            return super().forward(features, targets)

    class Plain(CrossEntropy):
        def forward(self, features: Tensor, targets: Tensor) -> Tensor:
            seen.append(targets.tolist())
            return super().forward(features, targets)

    for text in ("replay: {memory: 20}", "replay_reservoir: {memory: 20}", "mir: {memory: 20}"):
        orders = []
        for kind in (Plain, Drawing):
            seen: list[list[int]] = []
            learn(classifier(lambda kind=kind: kind(WIDTH, CLASSES)), spec(text))
            orders.append([batch for batch in seen if len(batch) > 1])
        assert orders[0] == orders[1], text


def test_seeded_runs_differ_and_repeat() -> None:
    found = []
    for seed in (0, 0, 1):
        made = classifier()
        learn(made, spec("replay: {memory: 20}"), seed=seed)
        found.append(made)
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_images_are_augmented_in_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """DER's logits and EWC's importances are of the images as they are."""
    from hugbench.protocols.continual import model

    training: list[bool] = []
    monkeypatch.setattr(model, "augment", lambda pixels, *_: training.append(True) or pixels)
    learn(classifier(), spec("der: {memory: 20}"))
    assert len(training) == 3 * 2 * 6


@pytest.mark.parametrize("choice", ["repel", "ignore"])
@pytest.mark.parametrize("criterion", ["hug", "hug_seen", "cross_entropy"])
def test_proxies_of_unseen_classes(choice: str, criterion: str) -> None:
    """They keep their place where they are ignored, and only with a criterion that can."""
    made = classifier(criterion)
    stream = spec("naive", class_order="fixed", proxies_of_unseen_classes=choice)
    before, found = made.criterion.proxies().detach().clone(), {}
    _, accounts = learn(
        made, stream, keep=lambda number, now: found.update({number: copy.deepcopy(now.criterion)})
    )
    after = found[1].proxies().detach()
    ignored = choice == "ignore" and criterion == "hug_seen"
    assert {account["unseen_proxies"] for account in accounts} == {"ignored" if ignored else "take part"}
    assert not torch.equal(after[:2], before[:2])
    assert torch.equal(after[2:], before[2:]) == ignored
    if criterion == "hug_seen":
        assert found[1].seen.tolist() == [True] * 2 + [not ignored] * 4


@pytest.mark.parametrize("text", STRATEGIES)
def test_no_strategy_shows_the_criterion_what_it_has_not_seen(text: str) -> None:
    facts = FACTS[text.partition(":")[0]]
    if facts.new != "criterion" or facts.data == "all":
        pytest.skip("the criterion is not the loss, or all classes come at once")
    made, found = classifier("hug_seen"), {}
    stream = spec(text, class_order="fixed", proxies_of_unseen_classes="ignore")
    learn(made, stream, keep=lambda number, now: found.update({number: now.criterion.seen.tolist()}))
    assert found == {n: [True] * 2 * n + [False] * (6 - 2 * n) for n in (1, 2, 3)}


def test_a_criterion_is_told_of_the_images_so_far() -> None:
    made = classifier(lambda: BalancedSoftmax(WIDTH, CLASSES))
    learn(made, spec("naive", class_order="fixed"), dataset=data((10, 20, 30, 40, 50, 60)))
    torch.testing.assert_close(made.criterion.log_prior.exp() * 210, torch.arange(10.0, 70, 10))


def test_a_class_without_images_and_a_long_tail() -> None:
    stream = spec("icarl: {memory: 12}", class_order="fixed")
    counts = (40, 3, 0, 20, 10, 2)
    _, accounts = learn(classifier(), stream, dataset=data(counts), recipe=recipe(batch_size=4))
    assert [account["images"] for account in accounts] == [43, 20, 12]


def test_nothing_of_the_callers_is_left_changed(tmp_path: Path) -> None:
    import warnings

    before = list(warnings.filters)
    learn(classifier(), spec("gem: {memory: 21}"), **files(tmp_path))
    assert warnings.filters == before


def test_a_loss_that_is_not_finite_fails_the_run() -> None:
    with pytest.raises(NonFiniteLoss):
        learn(classifier(), spec("mas: {strength: 1000000.0}"), recipe=recipe(epochs=4))


class Restless(Criterion):
    """A criterion with a loss of its own, of which nothing is known."""

    def __init__(self) -> None:
        super().__init__(WIDTH, CLASSES)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        if targets.is_floating_point():
            raise ValueError("labels only")
        return nn.functional.cross_entropy(self.logits(features), targets)

    def logits(self, features: Tensor) -> Tensor:
        return self.head(features)


@pytest.mark.parametrize(
    "text", [text for text in ANY_CRITERION if "ace_" not in text and text != "lwf_criterion"]
)
def test_a_criterion_of_ones_own_is_served(text: str) -> None:
    learn(classifier(Restless), spec(text, experiences=2), recipe=recipe(epochs=1))


@pytest.mark.parametrize(
    ("text", "criterion", "told"),
    [
        ("er_ace_criterion: {memory: 20}", Restless, "cannot be restricted"),
        (
            "er_ace_criterion: {memory: 20}",
            lambda: MaximumClassSeparation(WIDTH, CLASSES),
            "cannot be restricted",
        ),
        ("lwf_criterion", Restless, "soft targets"),
        ("mir: {memory: 20}", lambda: NTCE(WIDTH, CLASSES), "single images"),
        ("mir: {memory: 20}", lambda: SupCon(WIDTH, CLASSES), "single images"),
        ("icarl: {memory: 20}", lambda: HUG(WIDTH, CLASSES), "linear head"),
    ],
)
def test_a_criterion_that_does_not_fit_is_refused_at_the_start(text: str, criterion: Any, told: str) -> None:
    rows: list[EpochMetrics] = []
    with pytest.raises(UserError, match=told):
        learn(classifier(criterion), spec(text), on_epoch=rows.append)
    assert not rows


def test_the_protocol_imports_avalanche_only_when_a_stream_starts() -> None:
    import subprocess

    code = "import sys, hugbench.protocols.continual.protocol; print('avalanche' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "changed", [{"precision": "bf16"}, {"channels_last": True}, {"optimizer": "adamw", "lr": 0.01}]
)
@pytest.mark.parametrize("text", ["replay: {memory: 20}", "agem: {memory: 21}", "lwf"])
def test_recipes(text: str, changed: dict[str, Any], device: torch.device) -> None:
    made = classifier()
    made.backbone[3] = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Flatten())
    learn(made, spec(text, experiences=2), recipe=recipe(**changed), device=device)
