"""Two processes that share a batch train as one process would with all of it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from hugbench.criteria.contrast import NTCE, SupCon
from hugbench.criteria.hug import HUG
from hugbench.criteria.softmax import CrossEntropy
from hugbench.data.images import ResidentImages
from hugbench.errors import NonFiniteLoss, UserError
from hugbench.models import Classifier, build
from hugbench.suite.schema import ModelSpec, Recipe
from hugbench.training import ranks as module
from hugbench.training.batches import batches, check_ranks
from hugbench.training.learner import Learner
from hugbench.training.loop import train
from hugbench.training.normalisation import synchronised
from hugbench.training.ranks import ALONE, LedAway, RankFailed, Ranks, gather
from hugbench.training.step import SharedStep
from tests.unit.training.ranks import Processes

CLASSES = 5
CPU = torch.device("cpu")

CRITERIA: dict[str, Any] = {
    "hug": (HUG, {}),
    "hug mhs": (HUG, {"uniformity": "mhs", "intra": "mhs", "preset": "paper"}),
    "hug mgd": (HUG, {"uniformity": "mgd", "stop_gradient": False}),
    "hug sampled": (HUG, {"sampled": 3, "start": "random"}),
    "hug without inter": (HUG, {"alpha": 0.0, "proxies": "static"}),
    "cross_entropy": (CrossEntropy, {}),
    "ntce": (NTCE, {}),
    "supcon": (SupCon, {}),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, device: torch.device) -> Iterator[Processes]:
    processes = Processes(2, tmp_path_factory.mktemp("ranks") / "store", device)
    yield processes
    processes.close()


def classifier(criterion: str, **model: Any) -> Classifier:
    """A small residual network with batch norms, in float64: what is exact is so to 1e-12 there."""
    kind, arguments = CRITERIA[criterion]
    return build(
        ModelSpec(**{"backbone": "test_resnet", "stem": "cifar", "embedding_dim": 8, **model}),
        lambda width: kind(width, CLASSES, **arguments),
        channels=2,
        image_size=(8, 8),
        mean=[0.5, 0.5],
        std=[0.25, 0.25],
        seed=0,
    ).double()


def images(count: int = 58) -> ResidentImages:
    draw = torch.Generator().manual_seed(1)
    targets = torch.randint(CLASSES, (count,), generator=draw)
    noise = torch.randint(0, 128, (count, 2, 8, 8), generator=draw)
    return ResidentImages((noise + 30 * targets[:, None, None, None]).to(torch.uint8), targets)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: copy.deepcopy(value.detach()).cpu() for name, value in model.state_dict().items()}


def trained(
    ranks: Ranks,
    criterion: str = "hug",
    *,
    device: torch.device = CPU,
    checkpoint: Path | None = None,
    last: int | None = None,
    single: bool = False,
    model: dict[str, Any] | None = None,
    **changed: Any,
) -> dict[str, Any]:
    """What a training comes to; it ends after the epoch `last`, if that is given, as if it was stopped."""
    made = Recipe.model_validate({"epochs": 2, "batch_size": 16, "lr": 0.05, **changed})
    trainee, rows, kept = classifier(criterion, **model or {}), [], []
    trainee = trainee.float() if single else trainee

    def on_epoch(row: Any) -> None:
        rows.append(row)
        if row.epoch == last:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt, LedAway), ranks.training():
        train(
            trainee,
            images(),
            made,
            seed=0,
            device=ranks.device or device,
            checkpoint=checkpoint if ranks.first else None,
            on_epoch=on_epoch if ranks.first else lambda row: None,
            keep=lambda epochs, now: kept.append(state(now)),
            ranks=ranks,
        )
    return {"weights": state(trainee), "rows": rows, "kept": kept}


def agree(found: list[dict[str, Any]], expected: dict[str, Any], atol: float = 1e-9) -> None:
    """Whether both ranks hold what one process holds, and the first tells what it tells."""
    for rank in found:
        torch.testing.assert_close(rank["weights"], expected["weights"], rtol=0, atol=atol)
        torch.testing.assert_close(rank["kept"], expected["kept"], rtol=0, atol=atol)
    for mine, theirs in zip(found[0]["rows"], expected["rows"], strict=True):
        assert (mine.epoch, mine.lr) == (theirs.epoch, theirs.lr)
        assert mine.accuracy == theirs.accuracy
        assert mine.loss == pytest.approx(theirs.loss, abs=max(atol, 1e-9))
        assert mine.grad_norm == pytest.approx(theirs.grad_norm, abs=max(atol, 1e-9))


def gradients(ranks: Ranks, criterion: str, single: bool, device: torch.device = CPU) -> dict[str, Any]:
    """The gradient of one batch of 15 images, of which two ranks have 8 and 7."""
    data, device = images(15), ranks.device or device
    model = classifier(criterion).to(device)
    model = (model.float() if single else model).train()
    pixels = next(data.batches(15, device))[0] / 255
    targets = data.targets.to(device)
    torch.manual_seed(3)
    if ranks.alone:
        loss = model.loss(pixels, targets)
        loss.backward()
    else:
        with ranks.training(), synchronised(model, model.criterion, ranks):
            step = SharedStep(model, ranks, False)
            loss, _ = step(pixels[ranks.part(15)], targets)
            loss.backward()
    return {
        "loss": loss.item(),
        **{name: None if p.grad is None else p.grad.cpu() for name, p in model.named_parameters()},
    }


@pytest.mark.parametrize(
    ("criterion", "single"), [*((name, False) for name in CRITERIA), ("hug", True), ("ntce", True)]
)
def test_the_gradient_is_that_of_the_whole_batch(
    pair: Processes, device: torch.device, criterion: str, single: bool
) -> None:
    atol = 1e-4 if single else 1e-12
    expected = gradients(ALONE, criterion, single, device)
    assert any(value is not None for name, value in expected.items() if name.startswith("backbone"))
    for found in pair(gradients, criterion, single):
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5 if single else 1e-12)
        torch.testing.assert_close(found, expected, rtol=atol, atol=atol)


def test_the_factor_derived_slowly() -> None:
    """Mean over W ranks of gradients whose features' rows counted W times: the gradient of one process."""
    for count in (1, 2, 3, 5):
        torch.manual_seed(0)
        network, head = nn.Linear(6, 4).double(), HUG(4, CLASSES, stop_gradient=False).double()
        inputs, targets = torch.randn(15, 6, dtype=torch.float64), torch.arange(15) % CLASSES
        parameters = [*network.parameters(), *head.parameters()]
        expected = torch.autograd.grad(head(network(inputs), targets), parameters)
        parts = [Ranks(rank, count).part(15) for rank in range(count)]
        total = [torch.zeros_like(parameter) for parameter in parameters]
        for part in parts:
            everyone = network(inputs).detach().requires_grad_()
            loss = head(everyone, targets)
            of_features, *of_head = torch.autograd.grad(loss, [everyone, *head.parameters()])
            own = torch.autograd.grad(network(inputs[part]), network.parameters(), of_features[part] * count)
            for sum_, gradient in zip(total, [*own, *of_head], strict=True):
                sum_ += gradient / count
        torch.testing.assert_close(total, list(expected), rtol=1e-12, atol=1e-12)


RECIPES: dict[str, Any] = {
    "all of it": {
        "momentum": 0.9, "weight_decay": 1e-3, "ema": 0.9, "clip_grad": 0.5, "schedule": "cosine",
        "augment": {"flip": True, "crop": 1, "cutout": 2},
    },
    "uneven parts, uneven end": {"batch_size": 15, "drop_last": False},
    "class weights": {
        "class_weights": {"kind": "inverse_frequency", "after": 0.5}, "sampling": "class_balanced"
    },
    "mixed": {"mixup": 0.4, "cutmix": 1.0, "batch_size": 15, "drop_last": False, "augment": {"crop": 1}},
    "adamw": {"optimizer": "adamw", "lr": 0.003, "weight_decay": 0.05, "decay_norm_and_bias": False},
    "channels last": {"channels_last": True},
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_a_training_is_that_of_one_process(pair: Processes, device: torch.device, name: str) -> None:
    agree(pair(trained, "hug", **RECIPES[name]), trained(ALONE, "hug", device=device, **RECIPES[name]))


@pytest.mark.parametrize("criterion", [name for name in CRITERIA if name != "hug"])
def test_with_every_kind_of_criterion(pair: Processes, device: torch.device, criterion: str) -> None:
    made = {**RECIPES["all of it"], "batch_size": 15, "drop_last": False}
    agree(pair(trained, criterion, **made), trained(ALONE, criterion, device=device, **made))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_in_single_and_half_precision(pair: Processes, device: torch.device, precision: str) -> None:
    made = {"single": True, "lr": 0.01, "precision": precision, "epochs": 1}
    expected = trained(ALONE, "cross_entropy", device=device, **made)
    one, other = pair(trained, "cross_entropy", **made)
    torch.testing.assert_close(one["weights"], other["weights"], rtol=0, atol=0)
    near = {"fp32": 1e-4, "bf16": 0.1, "fp16": 0.05}[precision]
    assert one["rows"][0].loss == pytest.approx(expected["rows"][0].loss, rel=near)


NORMS: dict[str, Any] = {
    "two dimensions": lambda: (nn.BatchNorm2d(3), (15, 3, 4, 5)),
    "one dimension": lambda: (nn.BatchNorm1d(3, momentum=None), (15, 3)),
    "three dimensions": lambda: (nn.BatchNorm3d(3, affine=False), (15, 3, 2, 2, 2)),
    "no running statistics": lambda: (nn.BatchNorm1d(3, track_running_stats=False), (15, 3, 4)),
    "timm's": lambda: (BatchNormAct2d(3, act_layer=nn.SiLU), (15, 3, 4, 5)),
}


def normalised(ranks: Ranks, name: str, device: torch.device = CPU) -> list[Tensor]:
    """What a batch norm makes of a batch of 15 in two steps, its gradients, and its buffers."""
    device = ranks.device or device
    norm, shape = NORMS[name]()
    norm, part = norm.to(device).double(), ranks.part(15)
    draw = torch.Generator().manual_seed(0)
    found: list[Tensor] = []
    with ranks.training(), synchronised(norm, nn.Identity(), ranks):
        for _ in range(2):
            inputs = 3 + 2 * torch.randn(shape, generator=draw, dtype=torch.float64)
            weights = torch.randn(shape, generator=draw, dtype=torch.float64).to(device)
            own = inputs.to(device)[part].requires_grad_()
            outputs = norm(own)
            gradients = torch.autograd.grad((outputs * weights[part]).sum(), [own, *norm.parameters()])
            found += [outputs.detach(), *gradients]
        if norm.track_running_stats:
            found.append(norm.eval()(own).detach())
    assert "forward" not in vars(norm)
    return [value.cpu() for value in (*found, *norm.buffers())]


@pytest.mark.parametrize("name", NORMS)
def test_a_batch_norm_goes_over_all_images(pair: Processes, device: torch.device, name: str) -> None:
    whole = normalised(ALONE, name, device)
    one, other = pair(normalised, name)
    for mine, theirs, expected in zip(one, other, whole, strict=True):
        if len(expected.shape) and len(expected) == 15:  # by image
            found = torch.cat([mine, theirs])
        elif len(expected.shape) and mine is not theirs and not torch.equal(mine, theirs):  # gradients
            found = mine + theirs
        else:  # buffers
            found = mine
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def compiled(ranks: Ranks) -> tuple[dict[str, Any], int]:
    calls: list[Any] = []
    original = torch.compile
    torch.compile = lambda function: calls.append(function) or function  # type: ignore[assignment]
    try:
        return trained(ranks, compile=True), len(calls)
    finally:
        torch.compile = original


def test_both_halves_are_compiled(pair: Processes, device: torch.device) -> None:
    found = pair(compiled)
    assert [count for _, count in found] == [2, 2]
    agree([result for result, _ in found], trained(ALONE, device=device))


def drawn(ranks: Ranks) -> tuple[list[Tensor], Tensor]:
    """What the networks of two epochs and the criterion draw."""
    device = ranks.device
    step = SharedStep(classifier("hug").to(device), ranks, False)
    found = []
    for epoch in (0, 1, 0):
        step.seed(0, "dropout", epoch)
        with step._half.own.drawing():
            found.append(torch.rand(4, device=device).cpu())
    torch.manual_seed(0)
    with step._half.own.drawing():
        torch.rand(1 + ranks.rank, device=device)
    return found, torch.rand(4, device=device).cpu()


def test_networks_draw_apart_and_criteria_alike(pair: Processes) -> None:
    (first, alike), (second, alike_too) = pair(drawn)
    assert torch.equal(alike, alike_too)
    assert torch.equal(first[0], first[2])
    distinct = {tuple(values.tolist()) for values in (*first, *second)}
    assert len(distinct) == 4


def test_dropout_leaves_the_ranks_with_the_same_weights(pair: Processes) -> None:
    one, other = pair(trained, "hug", model={"drop_rate": 0.5, "drop_path_rate": 0.2})
    torch.testing.assert_close(one["weights"], other["weights"], rtol=0, atol=0)


@pytest.mark.parametrize("writers", [1, 2])
def test_a_checkpoint_is_read_by_any_number_of_processes(
    pair: Processes, device: torch.device, tmp_path: Path, writers: int
) -> None:
    made = {**RECIPES["all of it"], "epochs": 3}
    whole = trained(ALONE, device=device, **made)
    path = tmp_path / "resume.pt"
    if writers == 1:
        trained(ALONE, device=device, checkpoint=path, last=0, **made)
        found = pair(trained, checkpoint=path, **made)
    else:
        first, second = pair(trained, checkpoint=path, last=0, **made)
        assert len(first["kept"]) == len(second["kept"]) == 1
        found = [trained(ALONE, device=device, checkpoint=path, **made)]
    for rank in found:
        torch.testing.assert_close(rank["weights"], whole["weights"], rtol=0, atol=1e-9)
    assert [row.epoch for row in found[0]["rows"]] == [1, 2]


def overflowing(ranks: Ranks) -> dict[str, Tensor]:
    """The weights after a step in which the gradient of the second rank alone overflows."""
    device = ranks.device
    model = classifier("cross_entropy").float().to(device).train()
    before, data = state(model), images(16)
    pixels, targets = next(data.batches(16, device))[0] / 255, data.targets.to(device)
    made = Recipe.model_validate({"epochs": 1, "batch_size": 16, "lr": 0.05, "precision": "fp16"})
    if ranks.rank == 1:
        model.embedding.weight.register_hook(lambda gradient: gradient * float("inf"))
    learner = Learner(model, made, device)
    with ranks.training():
        step = SharedStep(model.eval(), ranks, False)
        loss, _ = step(pixels[ranks.part(16)], targets)
        learner.update(loss, 0.05, 0)
    assert learner.scaler.get_scale() == 2**15, "a skipped step halves the scale"
    torch.testing.assert_close(state(model), before, rtol=0, atol=0)
    return state(model)


def test_a_gradient_that_overflows_on_one_rank_is_skipped_on_all(pair: Processes) -> None:
    pair(overflowing)


def failing(ranks: Ranks, who: tuple[int, ...]) -> tuple[str, Any]:
    """What becomes of an error on some ranks, where the others go on to wait for them."""
    module.PATIENCE = type(module.PATIENCE)(seconds=1)
    try:
        with ranks.training(), ranks.together():
            if ranks.rank in who:
                raise ArithmeticError("as asked")
            gather(torch.zeros(1, 1, device=ranks.device), 2, ranks)
    except Exception as error:
        return type(error).__name__, getattr(error, "rank", None)
    return "none", None


def test_an_error_on_all_ranks_is_an_error_and_on_one_the_end(pair: Processes) -> None:
    assert pair(failing, (0, 1)) == [("ArithmeticError", None)] * 2
    assert pair(failing, ()) == [("none", None)] * 2
    assert pair(failing, (1,)) == [("RankFailed", 1)] * 2
    assert pair(failing, (0,)) == [("RankFailed", 0)] * 2
    agree(pair(trained), trained(ALONE))  # a group of its own: nothing of the above is left in it


def diverging(ranks: Ranks) -> str:
    try:
        trained(ranks, lr=1e30, single=True, epochs=4)
    except NonFiniteLoss as error:
        return str(error)
    return "finite"


def test_a_loss_that_is_not_finite_is_so_on_all_ranks(pair: Processes) -> None:
    first, second = pair(diverging)
    assert "not finite at step" in first
    assert first == second


def logged(ranks: Ranks, log: Path) -> str:
    recipe = Recipe(epochs=1, batch_size=16, lr=0.05)
    try:
        with ranks.training():
            train(
                classifier("cross_entropy"),
                images(),
                recipe,
                seed=0,
                device=ranks.device or CPU,
                log=log if ranks.first else None,
                ranks=ranks,
            )
    except (OSError, LedAway, RankFailed) as error:
        return type(error).__name__
    return "none"


def test_a_log_that_cannot_be_written_is_the_first_rank_s_error(pair: Processes, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl" / "in the way").mkdir(parents=True)
    assert pair(logged, tmp_path / "train.jsonl") == ["IsADirectoryError", "LedAway"]


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("batch", [8, 9, 15, 64])
def test_the_parts_make_a_batch(count: int, batch: int) -> None:
    parts = [range(batch)[Ranks(rank, count).part(batch)] for rank in range(count)]
    assert [row for part in parts for row in part] == list(range(batch))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("mixup", [0.0, 1.0])
@pytest.mark.parametrize("drop_last", [True, False])
def test_every_rank_fetches_its_own_images_and_no_other(mixup: float, drop_last: bool) -> None:
    data, order = images(50), torch.randperm(50)
    made = Recipe.model_validate(
        {"epochs": 1, "batch_size": 16, "lr": 0.1, "mixup": mixup, "drop_last": drop_last}
    )
    drop = made.model_copy(update={"drop_last": True})
    made = made if drop_last else drop.model_copy(update={"batch_size": 15, "drop_last": False})
    whole = list(batches(data, order, made, CPU, ALONE))
    for rank in range(3):
        own = list(batches(data, order, made, CPU, Ranks(rank, 3)))
        for batch, everyone in zip(own, whole, strict=True):
            size = len(everyone.labels)
            rows = list(range(size)[Ranks(rank, 3).part(size)])
            rows = [(rows[0] - 1) % size, *rows] if mixup else rows
            assert batch.part.count == size
            assert batch.part.rows.tolist() == rows
            assert torch.equal(batch.labels, everyone.labels)
            assert torch.equal(batch.pixels, everyone.pixels[rows])


@pytest.mark.parametrize(
    ("changed", "count", "said"),
    [
        ({"batch_size": 7}, 8, "recipe.batch_size: 8 processes share a batch; found 7"),
        ({"batch_size": 11, "drop_last": False}, 4, "an epoch's last one would hold 3 images"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(changed: dict[str, Any], count: int, said: str) -> None:
    made = Recipe.model_validate({"epochs": 1, "lr": 0.1, **changed})
    with pytest.raises(UserError, match=said):
        check_ranks(made, 58, count)
    check_ranks(made, 58, 1)


def test_an_error_tells_what_to_do() -> None:
    told = str(RankFailed(3, "OutOfMemoryError: GPU"))
    assert told == (
        "rank 3 failed, and the others cannot go on without it (OutOfMemoryError: GPU); "
        "the same command goes on from the last checkpoint"
    )
