"""The example of a loss of one's own, `baselines/my_loss.py`, against the same properties as all others."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from hugbench.criteria.base import Criterion
from hugbench.criteria.build import build_criterion, load_class
from hugbench.suite.nodes import Node
from hugbench.suite.plugins import criterion
from tests.properties import name_of, properties

FILE = Path(__file__).resolve().parents[3] / "baselines" / "my_loss.py"
SPEC = criterion(f"{FILE}:MyLoss", Node({"z_weight": Node(0.1, ""), "scale": Node(2.0, "")}, ""), "", Path())


# It is as short as a loss of one's own may be: without a repr that tells its arguments.
@pytest.mark.parametrize("holds", properties(without={"repr_rebuilds"}), ids=name_of)
def test_properties(holds, device):
    kind = load_class(SPEC)
    holds(lambda d, c: kind(d, c, **SPEC.values()), device)


def test_equals_a_slow_loop():
    torch.manual_seed(0)
    made = build_criterion(SPEC, 4, 3)
    features, labels = torch.randn(5, 4), [0, 1, 2, 2, 0]
    weight, bias = made.head.weight.tolist(), made.head.bias.tolist()
    total = 0.0
    for x, label in zip(features.tolist(), labels, strict=True):
        z = [
            2.0 * (sum(w * v for w, v in zip(row, x, strict=True)) + b)
            for row, b in zip(weight, bias, strict=True)
        ]
        normaliser = math.log(sum(math.exp(value) for value in z))
        total += normaliser - z[label] + 0.1 * normaliser**2
    assert made(features, torch.tensor(labels)).item() == pytest.approx(total / 5, rel=1e-5)


def test_is_short_and_a_criterion():
    assert issubclass(load_class(SPEC), Criterion)
    assert len(FILE.read_text().splitlines()) <= 40
