"""The randomness of a batch: fresh, independent, the same whatever the batch and the device."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from scipy import stats

from hugbench.evaluations.corruption.randomness import Draws

PINNED = (
    [
        [1653885754, 1266800476, -336407025],
        [1506767696, -382352706, -516323040],
        [1177028875, -1715206457, -2045055157],
    ],
    [-1427093242, 143756820, -977108864],
)


def draws(indices=range(64), *, seed=0, kind="fog", severity=3, device=None) -> Draws:
    return Draws(seed, kind, severity, torch.tensor(indices), device)


def bits(words) -> np.ndarray:
    """(..., 32) of 0 and 1."""
    return np.unpackbits(words.cpu().numpy().view(np.uint8).reshape(*words.shape, 4), axis=-1)


def test_pinned_words(device) -> None:
    """Every device and version gives these: a corrupted data set can be made again."""
    found = draws([0, 1, 49_999], seed=5, kind="snow", severity=2, device=device)
    assert found.words(3).tolist() == PINNED[0]
    assert found.words().tolist() == PINNED[1]


def by_hand(seed, kind, severity, index, place) -> int:
    """The word at a place, in Python's integers."""
    digest = hashlib.sha256(f"{seed}/corruption/{kind}/{severity}".encode()).digest()
    key = int.from_bytes(digest[:8], "big") >> 1
    weyl = 0x9E3779B97F4A7C15

    def mixed(word: int, middle: int) -> int:
        word ^= word >> 30
        word = (word * 0xBF58476D1CE4E5B9 + middle) % 2**64
        word ^= word >> 27
        word = word * 0x94D049BB133111EB % 2**64
        return word ^ (word >> 31)

    first = mixed((index * weyl + key) % 2**64, 0)
    second = mixed((first + key) % 2**64, 0)
    wide = mixed(((place // 2 + 1) * weyl + first) % 2**64, second)
    half = wide >> 32 if place % 2 else wide % 2**32
    return half - 2**32 if half >= 2**31 else half


def test_words_by_hand(device) -> None:
    found = (
        draws([3, 70_000], seed=-4, kind="frost", severity=5, device=device).words(2, 3).flatten(1).tolist()
    )
    for row, index in zip(found, (3, 70_000), strict=True):
        assert row == [by_hand(-4, "frost", 5, index, place) for place in range(6)]


@pytest.mark.parametrize("name", ["words", "uniform", "normal"])
def test_an_image_has_its_numbers_in_every_batch(name, device) -> None:
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0)).tolist()
    whole, shuffled, alone = draws(device=device), draws(order, device=device), draws([17], device=device)
    for shape in ((3, 5, 7), (1,), (), (4,)):
        expected = getattr(whole, name)(*shape)
        assert expected.shape == (64, *shape)
        assert torch.equal(getattr(shuffled, name)(*shape), expected[order])
        assert torch.equal(getattr(alone, name)(*shape), expected[17:18])


def test_calls_are_fresh() -> None:
    source = draws(range(200))
    parts = [source.words(*shape).flatten() for shape in ((64,), (5,), (8, 8), (), (63,))]
    everything = torch.cat(parts).numpy()
    expected = len(everything) ** 2 / 2**33  # pairs that meet by chance
    assert len(everything) - len(np.unique(everything)) < 3 * expected + 5


def correlation(one, other) -> float:
    """The share of equal bits, centred, in standard deviations."""
    equal = bits(one) == bits(other)
    return (equal.mean() - 0.5) * 2 * np.sqrt(equal.size)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"severity": 4},
        {"kind": "frost"},
        {"indices": range(1, 65)},
        {"indices": range(64, 128)},
        {"indices": range(2**40, 2**40 + 64)},
    ],
    ids=str,
)
def test_neighbouring_keys_share_nothing(other) -> None:
    one, two = draws().words(4096), draws(**{"indices": range(64), **other}).words(4096)
    assert abs(correlation(one, two)) < 4.5
    for lag in (1, 2, 3, 32):
        assert abs(correlation(one[:, lag:], two[:, :-lag])) < 4.5
    by_bit = (bits(one) == bits(two)).mean(axis=(0, 1))
    assert np.abs(by_bit - 0.5).max() < 4.5 / 2 / np.sqrt(one.numel())


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 32, 96, 1024])
def test_words_of_an_image_share_nothing(lag) -> None:
    words = draws().words(4096)
    assert abs(correlation(words[:, lag:], words[:, :-lag])) < 4.5


def test_every_bit_is_even() -> None:
    words = draws(range(256)).words(4096)
    assert np.abs(bits(words).mean(axis=(0, 1)) - 0.5).max() < 4.5 / 2 / np.sqrt(words.numel())


def test_one_bit_of_the_index_changes_half_of_the_word() -> None:
    start = draws([12_345]).words(256)
    for bit in range(48):
        changed = bits(start) != bits(draws([12_345 ^ (1 << bit)]).words(256))
        assert abs(changed.mean() - 0.5) < 4.5 / 2 / np.sqrt(changed.size)


@pytest.mark.parametrize("shape", [(3, 32, 32), (7,)])
def test_uniform(shape) -> None:
    found = draws(range(500)).uniform(*shape)
    assert found.dtype == torch.float32
    assert 0 <= found.min() <= found.max() < 1
    assert torch.equal(found * 2**24, (found * 2**24).floor())
    assert stats.kstest(found.flatten().numpy()[:20_000], "uniform").pvalue > 1e-4
    cells = np.bincount((found * 256).long().flatten().numpy(), minlength=256)
    assert stats.chisquare(cells).pvalue > 1e-4


@pytest.mark.parametrize("count", [1000, 1001])
def test_normal(count) -> None:
    found = draws(range(2000)).normal(count).double()
    many = found.numel()
    assert abs(found.mean()) < 4.5 / many**0.5
    assert abs(found.square().mean() - 1) < 4.5 * (2 / many) ** 0.5
    assert abs((found**3).mean()) < 4.5 * (15 / many) ** 0.5
    assert abs((found**4).mean() - 3) < 4.5 * (96 / many) ** 0.5 + 2e-3
    assert stats.kstest(found.flatten().numpy()[:100_000], "norm").pvalue > 1e-4
    beyond = (found.abs() > 4).double().sum()
    expected = many * 2 * stats.norm.sf(4)
    assert abs(beyond - expected) < 4.5 * expected**0.5
    assert abs(np.corrcoef(found[:, :-1].flatten(), found[:, 1:].flatten())[0, 1]) < 4.5 / many**0.5
    half = count // 2  # the two quantiles of a number come from words half a call apart
    assert abs(np.corrcoef(found[:, :half].flatten(), found[:, -half:].flatten())[0, 1]) < 6.4 / many**0.5


@pytest.mark.parametrize("high", [1, 2, 5, 7, 1000, 2**31])
def test_integers(high) -> None:
    found = draws(range(500)).integers(high, 40)
    assert found.dtype == torch.int64
    assert 0 <= found.min() <= found.max() < high
    if high > 1:
        groups = min(high, 8)
        cells = np.bincount((found * groups // high).flatten().numpy(), minlength=groups)
        edges = [-(-group * high // groups) for group in range(groups + 1)]
        assert stats.chisquare(cells, np.diff(edges) / high * cells.sum()).pvalue > 1e-4
