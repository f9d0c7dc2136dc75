from __future__ import annotations

import sys
from pathlib import Path

from hugbench import api
from hugbench.execution.executors import serial
from hugbench.execution.schedule import ATTEMPTS
from hugbench.suite.plan import PlannedRun

SUITE = """\
criteria: [cross_entropy]
baseline: cross_entropy
dataset: {name: digits, max_train: 64, max_test: 40}
model: {backbone: test_resnet, embedding_dim: 8}
recipe: {epochs: 1, batch_size: 32, lr: 0.1}
evaluations: [accuracy]
seeds: [0, 1]
"""


def test_a_loss_that_ends_the_process_costs_its_run_alone(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    execute, exits = serial.execute, 0

    def of_two(planned: PlannedRun, *rest: object) -> str:
        nonlocal exits
        if planned.run.seed == 0:
            exits += 1
            sys.exit(0)
        return execute(planned, *rest)

    monkeypatch.setattr(serial, "execute", of_two)
    outcome = api.run(
        tmp_path / "suite.yaml", results=tmp_path / "results", data=tmp_path, device="cpu", executor="serial"
    )
    assert exits == ATTEMPTS
    assert len(outcome.done) == 1
    (error,) = outcome.failed.values()
    assert "sys.exit(0)" in error
