from __future__ import annotations

import math

import pytest
import torch

from hugbench.errors import NonFiniteLoss
from hugbench.training.metrics import Meter


def feed(
    meter: Meter,
    losses: list[float],
    sizes: list[int] | None = None,
    norms: list | None = None,
    device: torch.device | str = "cpu",
) -> None:
    for i, loss in enumerate(losses):
        meter.add(
            torch.tensor(loss, device=device, requires_grad=True),
            torch.tensor(i, device=device),
            sizes[i] if sizes else 10,
            0.1 * (i + 1),
            torch.tensor(norms[i], device=device) if norms else None,
        )


def test_means_are_over_images(device: torch.device) -> None:
    meter = Meter(3, device)
    meter.start(4)
    feed(meter, [1.0, 2.0, 6.0], sizes=[8, 8, 4], norms=[1.0, math.inf, 3.0], device=device)
    row = meter.finish()
    assert row.epoch == 4
    assert row.loss == pytest.approx((8 * 1 + 8 * 2 + 4 * 6) / 20)
    assert row.accuracy == pytest.approx((0 + 1 + 2) / 20)
    assert row.lr == pytest.approx(0.3)
    assert row.grad_norm == pytest.approx(2.0)
    assert row.images_per_second * row.seconds == pytest.approx(20)


def test_without_clipping_there_is_no_norm(device: torch.device) -> None:
    meter = Meter(1, device)
    meter.start(0)
    feed(meter, [1.0], device=device)
    assert meter.finish().grad_norm is None


def test_an_epoch_starts_from_nothing(device: torch.device) -> None:
    meter = Meter(2, device)
    for epoch in range(2):
        meter.start(epoch)
        feed(meter, [1.0 + epoch, 3.0 + epoch], device=device)
        row = meter.finish()
        assert (row.loss, row.accuracy) == (2.0 + epoch, 1 / 20)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_cpu_stops_at_the_bad_step(bad: float) -> None:
    meter = Meter(5, torch.device("cpu"))
    meter.start(2)
    with pytest.raises(NonFiniteLoss) as caught:
        feed(meter, [1.0, 2.0, bad, 3.0])
    error = caught.value
    assert (error.epoch, error.step) == (2, 12)
    assert error.losses[:2] == [1.0, 2.0]
    assert len(error.losses) == 3
    assert not math.isfinite(error.losses[-1])
    assert error.learning_rate == pytest.approx(0.3)
    assert "step 12 (epoch 2, learning rate 0.3)" in str(error)


def test_an_accelerator_looks_now_and_then_and_finds_the_first_bad_step(device: torch.device) -> None:
    meter = Meter(120, device)
    meter.every = 50
    meter.start(1)
    losses = [float(i) for i in range(120)]
    losses[63], losses[70] = math.inf, math.nan
    with pytest.raises(NonFiniteLoss) as caught:
        feed(meter, losses, device=device)
    assert len(meter.sizes) == 100
    assert caught.value.step == 120 + 63
    assert caught.value.losses == [*range(54, 63), math.inf]


def test_a_bad_loss_after_the_last_look_is_found_at_the_end_of_the_epoch(device: torch.device) -> None:
    meter = Meter(60, device)
    meter.every = 50
    meter.start(0)
    feed(meter, [1.0] * 59 + [math.nan], device=device)
    with pytest.raises(NonFiniteLoss) as caught:
        meter.finish()
    assert caught.value.step == 59


def test_the_trail_reaches_into_the_epoch_before() -> None:
    meter = Meter(12, torch.device("cpu"))
    meter.start(0)
    feed(meter, [float(i) for i in range(12)])
    meter.finish()
    meter.start(1)
    with pytest.raises(NonFiniteLoss) as caught:
        feed(meter, [100.0, math.inf])
    assert caught.value.losses == [4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 100.0, math.inf]
