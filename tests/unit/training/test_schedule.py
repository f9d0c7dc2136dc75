from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler

from hugbench.training.schedule import learning_rate
from tests.unit.training.standin import recipe

EPOCHS, STEPS, LR = 6, 5, 0.4


def ours(**fields) -> list[float]:
    made = recipe(epochs=EPOCHS, lr=LR, **fields)
    return [learning_rate(made, step, STEPS) for step in range(EPOCHS * STEPS)]


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)


def theirs(optimizer: torch.optim.Optimizer, schedulers: list, per_epoch: tuple = ()) -> list[float]:
    """The rates of torch's schedulers, stepped after every step or after every epoch."""
    rates = []
    for step in range(EPOCHS * STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < EPOCHS * STEPS:
            for scheduler in schedulers:
                scheduler.step()
        if (step + 1) % STEPS == 0:
            for scheduler in per_epoch:
                scheduler.step()
    return rates


def warmup(optimizer: torch.optim.Optimizer, steps: int) -> lr_scheduler.LRScheduler:
    return lr_scheduler.LinearLR(optimizer, start_factor=1 / steps, total_iters=steps - 1)


def test_constant() -> None:
    assert ours() == [LR] * EPOCHS * STEPS


def test_linear_warmup_as_torch() -> None:
    made = optimizer()
    assert ours(warmup_epochs=2.0) == pytest.approx(theirs(made, [warmup(made, 2 * STEPS)]))


def test_warmup_may_last_a_fraction_of_an_epoch() -> None:
    assert ours(warmup_epochs=0.5)[:4] == pytest.approx([LR / 2.5, LR * 2 / 2.5, LR, LR])


def test_multistep_with_warmup_as_torch() -> None:
    made = optimizer()
    multistep = lr_scheduler.MultiStepLR(made, milestones=[1, 4], gamma=0.2)
    expected = theirs(made, [warmup(made, 2 * STEPS)], per_epoch=(multistep,))
    found = ours(schedule="multistep", milestones=(1, 4), gamma=0.2, warmup_epochs=2.0)
    assert found == pytest.approx(expected)
    assert found[-1] == pytest.approx(LR * 0.04)


@pytest.mark.parametrize("low", [0.0, 0.01])
def test_cosine_as_torch(low: float) -> None:
    made = optimizer()
    cosine = lr_scheduler.CosineAnnealingLR(made, T_max=EPOCHS * STEPS, eta_min=low)
    assert ours(schedule="cosine", min_lr=low) == pytest.approx(theirs(made, [cosine]))


def test_cosine_after_warmup_as_torch() -> None:
    made = optimizer()
    first, rest = 2 * STEPS, (EPOCHS - 2) * STEPS
    parts = [warmup(made, first), lr_scheduler.CosineAnnealingLR(made, T_max=rest, eta_min=0.01)]
    chained = lr_scheduler.SequentialLR(made, parts, milestones=[first])
    assert ours(schedule="cosine", warmup_epochs=2.0, min_lr=0.01) == pytest.approx(theirs(made, [chained]))


@pytest.mark.parametrize("rise", [0.0, 1.0, 2.5, 6.0])
def test_one_cycle_as_torch(rise: float) -> None:
    made = optimizer()
    cycle = lr_scheduler.OneCycleLR(
        made, LR, total_steps=EPOCHS * STEPS, pct_start=rise / EPOCHS or 0.3, cycle_momentum=False
    )
    assert ours(schedule="one_cycle", warmup_epochs=rise) == pytest.approx(theirs(made, [cycle]))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("warm", [0.0, 0.5, 1.0])
def test_the_shortest_trainings_have_a_rate(schedule: str, steps: int, warm: float) -> None:
    made = recipe(epochs=1, lr=LR, schedule=schedule, warmup_epochs=warm)
    rates = [learning_rate(made, step, steps) for step in range(steps)]
    assert all(0 < rate <= LR * (1 + 1e-12) for rate in rates)


@pytest.mark.parametrize("warm", [0.0, 1.0])
def test_a_single_step_of_one_cycle_has_the_full_rate(warm: float) -> None:
    made = recipe(epochs=1, lr=LR, schedule="one_cycle", warmup_epochs=warm)
    assert learning_rate(made, 0, 1) == LR
