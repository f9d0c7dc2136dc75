"""Fixtures that every test may use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import torch

os.environ.setdefault("HUGBENCH_EXECUTOR", "serial")  # tests of other executors name them


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device under test: HUGBENCH_TEST_DEVICE, or the CPU."""
    import torch

    return torch.device(os.environ.get("HUGBENCH_TEST_DEVICE", "cpu"))
