from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hugbench.criteria.base import one_hot
from hugbench.criteria.hug import HUG
from hugbench.criteria.softmax import CrossEntropy
from hugbench.data.augment import augment, to_float
from hugbench.data.images import ResidentImages
from hugbench.errors import CorruptFile, NonFiniteLoss, UserError
from hugbench.models import Classifier
from hugbench.seeding import generator
from hugbench.suite.schema import Recipe
from hugbench.training import loop
from hugbench.training.loop import EpochMetrics, train
from hugbench.training.sampling import class_balanced
from hugbench.training.schedule import learning_rate
from tests.unit.training.standin import SoftmaxHead, TensorImages, images, recipe, same, tiny, weights


class Killed(BaseException):
    """Stands for a process that ends."""


def trained(made: Recipe, device: torch.device, *, drop: float = 0.0, seed: int = 0, **arguments: Any) -> Any:
    classifier = tiny(drop, arguments.pop("criterion", SoftmaxHead)).eval()
    train(classifier, arguments.pop("data", images()), made, seed=seed, device=device, **arguments)
    return classifier


def timeless(log: Path) -> list[dict[str, float]]:
    """The rows of a log without what differs from one execution to the next."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in {"seconds", "images_per_second"}} for row in rows]


@pytest.mark.parametrize("drop_last", [True, False])
def test_it_is_the_obvious_loop(device: torch.device, drop_last: bool) -> None:
    made = recipe(
        schedule="cosine", augment={"flip": True, "crop": 1}, weight_decay=0.01, drop_last=drop_last
    )
    rows: list[EpochMetrics] = []
    found = trained(made, device, on_epoch=rows.append)

    data, plain = images(), tiny().to(device)
    decayed = [value for name, value in plain.named_parameters() if name != "criterion.linear.weight"]
    spared = {"params": [plain.criterion.linear.weight], "weight_decay": 0.0}
    optimiser = torch.optim.SGD([spared, {"params": decayed}], lr=1.0, momentum=0.9, weight_decay=0.01)
    step = 0
    for epoch in range(3):
        order = torch.randperm(50, generator=generator(0, "data order", epoch))
        draw = generator(0, "augmentation", epoch, device=device)
        total = right = seen = 0.0
        for chosen in (order[:16], order[16:32], order[32:48], order[48:])[: 3 if drop_last else 4]:
            inputs = to_float(augment(data.images[chosen].to(device), made.augment, draw))
            targets = data.targets[chosen].to(device)
            features = plain.features(inputs)
            loss = nn.functional.cross_entropy(plain.criterion.linear(features), targets)
            total += loss.item() * len(chosen)
            right += int((plain.criterion.linear(features).argmax(1) == targets).sum())
            seen += len(chosen)
            optimiser.param_groups[0]["lr"] = learning_rate(made, step, 3 if drop_last else 4)
            optimiser.param_groups[1]["lr"] = optimiser.param_groups[0]["lr"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
        assert rows[epoch].loss == pytest.approx(total / seen, rel=1e-4)
        assert rows[epoch].accuracy == pytest.approx(right / seen)
        assert rows[epoch].lr == optimiser.param_groups[0]["lr"]
    torch.testing.assert_close(weights(found), weights(plain), rtol=1e-4, atol=1e-5)


def test_it_learns(device: torch.device) -> None:
    rows: list[EpochMetrics] = []
    trained(recipe(epochs=15), device, on_epoch=rows.append)
    assert rows[-1].accuracy > 0.9 > rows[0].accuracy
    assert rows[-1].loss < 0.5 * rows[0].loss


def test_afterwards_the_classifier_is_ready_to_be_evaluated(device: torch.device) -> None:
    classifier = trained(recipe(), device)
    assert not any(module.training for module in classifier.modules())
    assert all(p.grad is None and p.device.type == device.type for p in classifier.parameters())


FULL = {"epochs": 4, "augment": {"flip": True, "crop": 1, "cutout": 2}, "mixup": 0.4, "cutmix": 1.0}
RESUMED = {
    "sgd": {"epochs": 4},
    "sgd, everything": {
        **FULL, "ema": 0.8, "clip_grad": 1.0, "schedule": "one_cycle", "weight_decay": 0.01, "drop_last": False
    },
    "adamw": {**FULL, "optimizer": "adamw", "lr": 0.01, "schedule": "cosine", "warmup_epochs": 1.5},
    "bf16": {"epochs": 4, "precision": "bf16", "channels_last": True},
    "balanced": {
        "epochs": 4, "sampling": "class_balanced", "sampling_after": 0.5, "drop_last": False,
        "class_weights": {"kind": "inverse_frequency", "after": 0.75}
    },
    "fp16": {"epochs": 4, "precision": "fp16"},
}  # fmt: skip


@pytest.mark.parametrize("name", RESUMED)
@pytest.mark.parametrize("last", [0, 2, 3])
def test_interrupted_and_resumed_is_uninterrupted(
    name: str, last: int, device: torch.device, tmp_path: Path
) -> None:
    made = recipe(**RESUMED[name])
    whole = trained(made, device, drop=0.3, log=tmp_path / "whole.jsonl")
    files = {"checkpoint": tmp_path / "resume.pt", "log": tmp_path / "train.jsonl"}

    def kill(row: EpochMetrics) -> None:
        if row.epoch == last:
            raise Killed

    with pytest.raises(Killed):
        trained(made, device, drop=0.3, on_epoch=kill, **files)
    assert len(timeless(files["log"])) == last + 1
    torch.rand(7)
    rows: list[EpochMetrics] = []
    resumed = trained(made, device, drop=0.3, on_epoch=rows.append, **files)
    assert [row.epoch for row in rows] == list(range(last + 1, 4))
    if device.type == "cpu":
        assert same(whole, resumed)
        assert timeless(files["log"]) == timeless(tmp_path / "whole.jsonl")
    else:
        torch.testing.assert_close(weights(whole), weights(resumed), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("step", [0, 1, 4, 8])
def test_killed_within_an_epoch_loses_that_epoch_only(
    step: int, device: torch.device, tmp_path: Path, monkeypatch
) -> None:
    made = recipe(mixup=0.4)
    whole = trained(made, device, drop=0.3)
    forward = SoftmaxHead.forward
    calls = []

    def fatal(self: SoftmaxHead, features: Tensor, targets: Tensor) -> Tensor:
        calls.append(step)
        if len(calls) == step + 1:
            raise Killed
        return forward(self, features, targets)

    monkeypatch.setattr(SoftmaxHead, "forward", fatal)
    with pytest.raises(Killed):
        trained(made, device, drop=0.3, checkpoint=tmp_path / "resume.pt")
    rows: list[EpochMetrics] = []
    resumed = trained(made, device, drop=0.3, checkpoint=tmp_path / "resume.pt", on_epoch=rows.append)
    assert rows[0].epoch == step // 3
    torch.testing.assert_close(weights(whole), weights(resumed), rtol=1e-5, atol=1e-6)
    assert device.type != "cpu" or same(whole, resumed)


class Weighted(SoftmaxHead):
    """Cross-entropy that notes its class weights and how often it saw which class."""

    weighting = "recipe"

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        self.calls.append((self.recipe_weights, torch.bincount(targets, minlength=3).tolist()))
        return super().forward(features, targets)


def skewed() -> TensorImages:
    """120 images of class 0, 24 of class 1, 6 of class 2."""
    data = images(600)
    parts = [torch.nonzero(data.targets == label).flatten()[:n] for label, n in enumerate((120, 24, 6))]
    return data.subset(torch.cat(parts))


def seen(classifier: Any) -> list[list[int]]:
    """What the criterion noted at its calls: class counts, or (weights, counts)."""
    return [
        call for call in classifier.criterion.calls if isinstance(call, tuple) and isinstance(call[1], list)
    ]


def test_class_weights_start_when_the_recipe_says(device: torch.device) -> None:
    made = recipe(epochs=5, batch_size=75, class_weights={"kind": "inverse_frequency", "after": 0.6})
    calls = seen(trained(made, device, data=skewed(), criterion=Weighted))
    assert [weights is not None for weights, _ in calls] == [False] * 6 + [True] * 4
    inverse = [1 / 120, 1 / 24, 1 / 6]
    expected = [3 * value / sum(inverse) for value in inverse]
    assert all(weights.tolist() == pytest.approx(expected) for weights, _ in calls[6:])
    assert calls[-1][0].device.type == device.type


def test_after_training_the_loss_is_unweighted(device: torch.device) -> None:
    made = recipe(class_weights={"kind": "effective_number"})
    found = trained(made, device, data=skewed(), criterion=Weighted)
    assert seen(found)[0][0] is not None
    assert found.criterion.recipe_weights is None


def test_weights_for_a_criterion_that_takes_none_are_refused(device: torch.device) -> None:
    class Unweighted(SoftmaxHead):
        weighting = "none"

    with pytest.raises(ValueError, match="class_weights: expected None"):
        trained(recipe(class_weights={"kind": "effective_number"}), device, criterion=Unweighted)


def test_class_balanced_sampling_starts_when_the_recipe_says(device: torch.device) -> None:
    made = recipe(epochs=5, batch_size=75, sampling="class_balanced", sampling_after=0.6)
    data = skewed()
    calls = [counts for _, counts in seen(trained(made, device, data=data, criterion=Weighted))]
    for epoch in range(5):
        counts = [a + b for a, b in zip(*calls[2 * epoch : 2 * epoch + 2], strict=True)]
        if epoch < 3:
            assert counts == [120, 24, 6]
        else:
            order = class_balanced(data.targets, generator(0, "data order", epoch))
            assert counts == torch.bincount(data.targets[order]).tolist()
            assert min(counts) > 30  # 50 each in the mean, of 150


def test_natural_sampling_is_what_it_was(device: torch.device) -> None:
    made = recipe(epochs=5, sampling="class_balanced", sampling_after=0.99)
    assert same(trained(made, device), trained(recipe(epochs=5), device)) or device.type != "cpu"


def test_a_log_that_fell_behind_the_checkpoint_is_mended(device: torch.device, tmp_path: Path) -> None:
    files = {"checkpoint": tmp_path / "resume.pt", "log": tmp_path / "train.jsonl"}
    trained(recipe(), device, **files)
    whole = files["log"].read_text()
    files["log"].write_text(whole.splitlines(keepends=True)[0] + '{"half')
    trained(recipe(), device, **files)
    assert files["log"].read_text() == whole


def test_a_damaged_checkpoint_is_the_callers_to_know(device: torch.device, tmp_path: Path) -> None:
    path = tmp_path / "resume.pt"
    trained(recipe(), device, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptFile):
        trained(recipe(), device, checkpoint=path)


def test_the_log_holds_what_the_observer_saw(device: torch.device, tmp_path: Path) -> None:
    seen: list[EpochMetrics] = []

    def look(row: EpochMetrics) -> None:
        seen.append(row)
        assert len(log.read_text().splitlines()) == len(seen)

    log = tmp_path / "train.jsonl"
    trained(recipe(clip_grad=1.0), device, log=log, on_epoch=look)
    assert [EpochMetrics(**json.loads(line)) for line in log.read_text().splitlines()] == seen
    trained(recipe(), device, log=log)
    fields = {"epoch", "loss", "accuracy", "lr", "images_per_second", "seconds"}
    assert all(json.loads(line).keys() == fields for line in log.read_text().splitlines())


def test_the_criterion_is_told_what_the_contract_says(device: torch.device) -> None:
    data = images(40)
    calls = trained(recipe(epochs=2, drop_last=False), device, data=data).criterion.calls
    step = (torch.float32, torch.int64, False)
    counts = [int((data.targets == label).sum()) for label in range(3)]
    assert calls == [counts, (0, 2), step, step, step, (1, 2), step, step, step]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_the_loss_is_in_float32_whatever_the_precision(precision: str, device: torch.device) -> None:
    exact, rows = [], []
    trained(recipe(), device, on_epoch=exact.append)
    made = recipe(precision=precision, mixup=0.2)
    assert trained(made, device).criterion.calls[2] == (torch.float32, torch.float32, False)
    trained(recipe(precision=precision), device, on_epoch=rows.append)
    assert [row.loss for row in rows] == pytest.approx([row.loss for row in exact], rel=0.05)
    assert [row.loss for row in rows] != [row.loss for row in exact]


def test_mixed_images_come_with_mixed_targets(device: torch.device, monkeypatch) -> None:
    seen = []

    def spy(classifier: Any, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(targets)
        return original(classifier, inputs, targets)

    original = loop._loss_and_correct
    monkeypatch.setattr(loop, "_loss_and_correct", spy)
    trained(recipe(mixup=1.0), device)
    torch.testing.assert_close(torch.stack(seen).sum(-1), torch.ones(9, 16, device=device))
    shares = [float(targets.max(1).values.min()) for targets in seen]
    assert all(0.5 <= share < 1 for share in shares)
    assert len(set(shares)) == 9


def test_accuracy_is_at_the_largest_target() -> None:
    class Fixed(nn.Module):
        criterion = SoftmaxHead(3, 3)

        def features(self, images: Tensor) -> Tensor:
            return images

        def loss_of(self, features: Tensor, targets: Tensor) -> Tensor:
            return self.criterion(features, targets)

    Fixed.criterion.linear.weight.data = torch.eye(3)
    Fixed.criterion.linear.bias.data = torch.zeros(3)
    inputs = torch.tensor([[3.0, 0, 0], [0, 2.0, 1.0], [0, 0, 1.0], [0.1, 0.2, 0]])
    labels = torch.tensor([0, 2, 2, 1])
    soft = 0.6 * one_hot(labels, 3) + 0.4 * one_hot(torch.tensor([1, 1, 1, 0]), 3)
    for targets in (labels, soft):
        assert int(loop._loss_and_correct(Fixed(), inputs, targets)[1]) == 3


class Diverging(SoftmaxHead):
    """A loss that is infinite at the seventh step."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        loss = super().forward(features, targets)
        return (
            loss * math.inf
            if len([c for c in self.calls if len(c) == 3 and c[0] is torch.float32]) == 7
            else loss
        )


def test_an_infinite_loss_names_the_step_and_what_led_to_it(device: torch.device, tmp_path: Path) -> None:
    rows: list[EpochMetrics] = []
    made = recipe(schedule="multistep", milestones=(2,))
    with pytest.raises(NonFiniteLoss) as caught:
        trained(made, device, criterion=Diverging, on_epoch=rows.append, checkpoint=tmp_path / "resume.pt")
    error = caught.value
    assert (error.epoch, error.step) == (2, 6)
    assert error.learning_rate == pytest.approx(0.01)
    assert len(error.losses) == 7
    assert [math.isfinite(loss) for loss in error.losses] == [True] * 6 + [False]
    assert sum(error.losses[:3]) / 3 == pytest.approx(rows[0].loss)
    assert len(rows) == 2


class Raising(SoftmaxHead):
    """A loss with a bug."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        raise ZeroDivisionError("my loss")


def test_an_error_of_the_criterion_is_passed_on(device: torch.device) -> None:
    with pytest.raises(ZeroDivisionError, match="my loss"):
        trained(recipe(), device, criterion=Raising)


def test_a_batch_larger_than_the_data(device: torch.device) -> None:
    with pytest.raises(UserError, match=r"recipe\.batch_size: .*found 51; expected at most 50"):
        trained(recipe(batch_size=51), device)
    trained(recipe(batch_size=50, epochs=1), device)


def test_the_seed_and_the_stage_decide_what_is_drawn(device: torch.device) -> None:
    made = recipe(epochs=1, augment={"flip": True})
    first = trained(made, device)
    assert device.type != "cpu" or same(first, trained(made, device))
    assert not same(first, trained(made, device, seed=1))
    assert not same(first, trained(made, device, stage=("experience", 1)))


class Thirsty(SoftmaxHead):
    """A loss that draws from the global generator."""

    def start_training(self, class_counts: Tensor) -> None:
        self.register_buffer("drawn", torch.rand(3, device=class_counts.device))

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        torch.rand(5, device=features.device)
        return super().forward(features, targets)


def test_runs_with_different_criteria_see_the_same_images(device: torch.device, monkeypatch) -> None:
    seen: list[Tensor] = []

    def spy(classifier: Any, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(inputs.cpu())
        return original(classifier, inputs, targets)

    original = loop._loss_and_correct
    monkeypatch.setattr(loop, "_loss_and_correct", spy)
    made = recipe(augment={"flip": True, "crop": 1, "cutout": 2}, mixup=0.3, cutmix=0.3)
    for criterion in (SoftmaxHead, Thirsty):
        trained(made, device, criterion=criterion)
    assert len(seen) == 18
    assert all(torch.equal(seen[step], seen[step + 9]) for step in range(9))
    assert not torch.equal(seen[0], seen[3])


def test_what_a_criterion_draws_is_the_same_in_every_process(device: torch.device) -> None:
    first = trained(recipe(), device, criterion=Thirsty)
    torch.rand(9, device=device)
    second = trained(recipe(), device, criterion=Thirsty)
    assert torch.equal(first.criterion.drawn, second.criterion.drawn)


def test_with_a_moving_average_its_weights_are_what_is_left(device: torch.device) -> None:
    plain, averaged = trained(recipe(), device), trained(recipe(ema=1.0), device)
    at_once = trained(recipe(ema=0.0), device)
    torch.testing.assert_close(weights(at_once), weights(plain), rtol=1e-4, atol=1e-5)
    assert not same(plain, averaged)


def test_channels_last_changes_the_layout_and_nothing_else(device: torch.device, monkeypatch) -> None:
    layouts = []

    def spy(classifier: Any, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        kernel = classifier.backbone[0].weight
        layouts.append([t.is_contiguous(memory_format=torch.channels_last) for t in (inputs, kernel)])
        return original(classifier, inputs, targets)

    original = loop._loss_and_correct
    plain = trained(recipe(), device)
    monkeypatch.setattr(loop, "_loss_and_correct", spy)
    last = trained(recipe(channels_last=True), device)
    assert layouts == [[True, True]] * 9
    assert all(parameter.is_contiguous() for parameter in last.parameters())
    torch.testing.assert_close(weights(last), weights(plain), rtol=1e-3, atol=1e-4)


def test_compiled_is_the_same_training(device: torch.device, monkeypatch) -> None:
    compiled = []

    def compile_without_code(function: Any) -> Any:
        compiled.append(function)
        return real(function, backend="aot_eager")

    real = torch.compile
    monkeypatch.setattr(torch, "compile", compile_without_code)
    plain = trained(recipe(epochs=1), device, criterion=Quiet)
    assert not compiled
    found = trained(recipe(epochs=1, compile=True), device, criterion=Quiet)
    assert compiled == [loop._loss_and_correct]
    torch.testing.assert_close(weights(found), weights(plain), rtol=1e-4, atol=1e-5)


class Quiet(SoftmaxHead):
    """A loss that keeps no notes, as the compiler likes it."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.linear(features), targets)


class Remembering(SoftmaxHead):
    """A loss that becomes another one with the epochs, from the class counts and in a buffer."""

    def start_training(self, class_counts: Tensor) -> None:
        self.register_buffer("share", class_counts / class_counts.sum())
        self.register_buffer("past", torch.zeros_like(self.share))

    def start_epoch(self, epoch: int, epochs: int) -> None:
        self.past += self.share * torch.rand(3, device=self.share.device)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.linear(features) - self.past, targets)


def test_buffers_of_a_criterion_survive_an_interruption(device: torch.device, tmp_path: Path) -> None:
    run = functools.partial(trained, recipe(epochs=2), device, criterion=Remembering)
    whole = run()

    def kill(row: EpochMetrics) -> None:
        raise Killed

    with pytest.raises(Killed):
        run(checkpoint=tmp_path / "resume.pt", on_epoch=kill)
    resumed = run(checkpoint=tmp_path / "resume.pt")
    torch.testing.assert_close(weights(whole)["criterion.past"], weights(resumed)["criterion.past"])
    assert device.type != "cpu" or same(whole, resumed)


@pytest.mark.parametrize("criterion", [CrossEntropy, HUG])
@pytest.mark.parametrize(
    "fields", [{}, {"mixup": 0.2, "ema": 0.5, "precision": "bf16", "optimizer": "adamw"}]
)
def test_the_real_classifier_on_resident_images(criterion: type, fields: dict, device: torch.device) -> None:
    torch.manual_seed(0)
    classifier = Classifier(tiny().backbone, criterion(5, 3), mean=(0.5, 0.5), std=(0.2, 0.2))
    data = ResidentImages(images().images, images().targets)
    rows: list[EpochMetrics] = []
    made = recipe(epochs=25, **{"lr": 0.02, **fields})
    train(classifier, data, made, seed=0, device=device, on_epoch=rows.append)
    assert rows[-1].accuracy > 0.8
    with torch.no_grad():
        right = [
            (classifier(to_float(pixels)).argmax(1) == labels).float().mean().item()
            for pixels, labels, _ in data.batches(50, device)
        ]
    assert right[0] > 0.9
