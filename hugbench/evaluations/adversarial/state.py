"""What an examination must leave as it found it: weights, gradients, modes and generators."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hugbench.seeding import seed_everything

RANDOM_STATE = "random state of "


@dataclass(frozen=True)
class State:
    """A module and the random state, as they are at one moment.

    Attributes:
        modes: training or not, of every part.
        asks: requires_grad, of every parameter.
        gradients: what lies in `.grad` of every parameter, copied.
        weights: every parameter and buffer, copied.
        generators: the states of the global generators.
    """

    modes: tuple[bool, ...]
    asks: tuple[bool, ...]
    gradients: tuple[Tensor | None, ...]
    weights: tuple[Tensor, ...]
    generators: dict[str, Any]

    @classmethod
    def of(cls, module: nn.Module, device: torch.device) -> State:
        """The state of `module` and of the generators of the CPU and of `device`."""
        parameters = list(module.parameters())
        return cls(
            tuple(part.training for part in module.modules()),
            tuple(parameter.requires_grad for parameter in parameters),
            tuple(None if p.grad is None else p.grad.detach().clone() for p in parameters),
            tuple(held.detach().clone() for held in _held(module)),
            generators(device),
        )

    def changes(self, module: nn.Module, device: torch.device) -> list[str]:
        """What is different now, in words."""
        parts, parameters = list(module.modules()), list(module.parameters())
        if len(parts) != len(self.modes) or len(parameters) != len(self.asks):
            return ["the modules themselves"]
        found = {
            "modes": any(part.training != mode for part, mode in zip(parts, self.modes, strict=True)),
            "requires_grad": any(p.requires_grad != a for p, a in zip(parameters, self.asks, strict=True)),
            "gradients": any(not _same(p.grad, g) for p, g in zip(parameters, self.gradients, strict=True)),
            "weights": not all(_same(a, b) for a, b in zip(_held(module), self.weights, strict=True)),
        }
        told = [name for name, different in found.items() if different]
        return told + [f"{RANDOM_STATE}{name}" for name in moved(self.generators, generators(device))]

    def restore(self, module: nn.Module) -> None:
        """Put modes, requires_grad, gradients and weights back (where the modules are still the same)."""
        parts, parameters = list(module.modules()), list(module.parameters())
        for part, mode in zip(parts, self.modes, strict=False):
            part.training = mode
        for parameter, asks, gradient in zip(parameters, self.asks, self.gradients, strict=False):
            parameter.requires_grad_(asks)
            parameter.grad = gradient
        with torch.no_grad():
            for held, before in zip(_held(module), self.weights, strict=False):
                if not _same(held, before):
                    held.copy_(before)


@contextmanager
def own_randomness(device: torch.device, seed: int, *axis: str | int) -> Iterator[None]:
    """Global generators seeded for an axis within, and as they were afterwards."""
    before = generators(device)
    seed_everything(seed, *axis)
    try:
        yield
    finally:
        random.setstate(before["python"])
        np.random.set_state(before["numpy"])
        torch.set_rng_state(before["torch"])
        if device.type in before:
            set_rng_state(device, before[device.type])


def generators(device: torch.device) -> dict[str, Any]:
    """The states of the global generators of python, NumPy, torch and the device."""
    found: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        found[device.type] = rng_state(device)
    return found


def rng_state(device: torch.device) -> Tensor:
    """The state of the generator of an accelerator: of this one where there are several."""
    module = torch.get_device_module(device)
    found: Tensor = module.get_rng_state() if device.type == "mps" else module.get_rng_state(device)
    return found


def set_rng_state(device: torch.device, state: Tensor) -> None:
    """The reverse of `rng_state`."""
    module = torch.get_device_module(device)
    if device.type == "mps":
        module.set_rng_state(state)
    else:
        module.set_rng_state(state, device)


def moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names of the generators whose states differ."""
    return [name for name, state in after.items() if not _equal(state, before[name])]


def _held(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def _equal(one: Any, other: Any) -> bool:
    """Of states, which are tensors, arrays, or tuples of these and of numbers."""
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    return bool(np.array_equal(one, other))
