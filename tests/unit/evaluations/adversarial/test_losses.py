"""Losses against loops over images and classes."""

from __future__ import annotations

import math

import pytest
import torch

from hugbench.evaluations.adversarial.losses import cross_entropy, dlr, margin, targeted_dlr
from hugbench.evaluations.adversarial.victim import fooled, margins

LOGITS = 3 * torch.randn(12, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 4
TARGETS = torch.arange(12) % 6
AIMS = (TARGETS + 2) % 6


def test_by_loops():
    for i, (row, y, t) in enumerate(zip(LOGITS.tolist(), TARGETS.tolist(), AIMS.tolist(), strict=True)):
        others = [z for j, z in enumerate(row) if j != y]
        ranked = sorted(row, reverse=True)
        assert margin(LOGITS, TARGETS)[i] == pytest.approx(max(others) - row[y])
        assert margins(LOGITS, TARGETS)[i] == pytest.approx(row[y] - max(others))
        assert bool(fooled(LOGITS, TARGETS)[i]) is (max(others) > row[y])
        assert cross_entropy(LOGITS, TARGETS)[i] == pytest.approx(math.log(sum(map(math.exp, row))) - row[y])
        assert dlr(LOGITS, TARGETS)[i] == pytest.approx((max(others) - row[y]) / (ranked[0] - ranked[2]))
        assert targeted_dlr(AIMS)(LOGITS, TARGETS)[i] == pytest.approx(
            (row[t] - row[y]) / (ranked[0] - (ranked[2] + ranked[3]) / 2)
        )


@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes(classes):
    logits, targets = LOGITS[:, :classes], TARGETS % classes
    aims = (targets + 1) % classes
    row = torch.arange(len(logits))
    torch.testing.assert_close(targeted_dlr(aims)(logits, targets), logits[row, aims] - logits[row, targets])
    if classes == 2:
        torch.testing.assert_close(dlr(logits, targets), logits[row, aims] - logits[row, targets])


@pytest.mark.parametrize("loss", [dlr, targeted_dlr(AIMS)])
def test_blind_to_scale_and_shift(loss):
    torch.testing.assert_close(loss(64 * LOGITS - 20, TARGETS), loss(LOGITS, TARGETS))
