"""The k-th nearest neighbour against all distances, sorted."""

from __future__ import annotations

import math

import pytest
import torch

from hugbench.criteria.sphere import normalise
from hugbench.evaluations.ood import neighbours
from hugbench.evaluations.ood.neighbours import Neighbours


def drawn(count, seed, width=6):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def slow(train, queries, k):
    unit = [row / row.norm() for row in train.double()]
    found = []
    for query in queries.double():
        distances = sorted(math.dist(query / query.norm(), other) for other in unit)
        found.append(-distances[k - 1])
    return found


@pytest.mark.parametrize("block", [4, 16384])
@pytest.mark.parametrize("k", [1, 3, 10, 23])
def test_equals_the_loop(device, monkeypatch, block, k):
    monkeypatch.setattr(neighbours, "BLOCK", block)
    train, queries = drawn(23, 0), drawn(9, 1)
    found = Neighbours(normalise(train).to(device), k).scores(queries.to(device))
    assert found.tolist() == pytest.approx(slow(train, queries, k), abs=1e-5)


def test_the_farthest_where_there_are_fewer_than_k(device):
    train, queries = drawn(5, 0), drawn(4, 1)
    found = Neighbours(normalise(train).to(device), 50).scores(queries.to(device))
    assert found.tolist() == pytest.approx(slow(train, queries, 5), abs=1e-5)


def test_lengths_do_not_matter_and_a_training_feature_is_its_own_nearest(device):
    train = drawn(8, 0).to(device)
    found = Neighbours(normalise(train), 1).scores(17 * train)
    assert found.tolist() == pytest.approx([0] * 8, abs=1e-3)


def test_a_feature_without_direction_is_perpendicular_to_all(device):
    found = Neighbours(normalise(drawn(8, 0)).to(device), 3).scores(torch.zeros(1, 6, device=device))
    assert found.tolist() == pytest.approx([-math.sqrt(2)])
