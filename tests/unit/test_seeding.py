from __future__ import annotations

import random

import numpy
import torch

from hugbench.seeding import derive, generator, seed_everything


def test_axes_give_seeds_of_their_own() -> None:
    seeds = {
        derive(seed, axis, epoch)
        for seed in range(5)
        for axis in ("data order", "mixing")
        for epoch in range(5)
    }
    assert len(seeds) == 50
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(0, "data order", 1) == 31000212871636934


def test_generators_repeat_themselves(device: torch.device) -> None:
    first = torch.rand(8, generator=generator(1, "a", device=device), device=device)
    assert torch.equal(first, torch.rand(8, generator=generator(1, "a", device=device), device=device))
    assert not torch.equal(first, torch.rand(8, generator=generator(2, "a", device=device), device=device))


def test_all_global_generators_are_seeded() -> None:
    def draw() -> tuple[float, float, float]:
        seed_everything(3, "dropout", 1)
        return random.random(), float(numpy.random.rand()), float(torch.rand(()))

    assert draw() == draw()
