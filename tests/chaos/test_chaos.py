"""The short form: every fault once and some ten kills. `tox -e chaos` is the long one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.chaos.chaos import Chaos
from tests.chaos.suites import SHORT


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found by /proc")
def test_a_disturbed_suite_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    said: list[str] = []
    chaos = Chaos(tmp_path / "chaos", SHORT, int(os.environ.get("HUGBENCH_CHAOS_SEED") or 0), said.append)
    wrong = chaos.run()
    assert not wrong, "\n".join([*said, chaos.summary()])
    assert sum(chaos.kills.counts.values()) >= SHORT.kills
