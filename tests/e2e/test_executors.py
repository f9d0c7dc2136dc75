"""Wherever runs happen, the same bytes come out; and whatever happens to who carries them out."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hugbench import run
from hugbench.execution.where import Local, Serial, Where
from tests.e2e.conftest import command, environment
from tests.e2e.test_cli import DEVICE
from tests.e2e.test_resume import everything

SUITE = """\
criteria: [{hug: {uniformity: mhe}}, cross_entropy]
baseline: cross_entropy
dataset: {name: digits, validation: 0.1, max_train: 320, max_test: 100}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 16}
recipe: {epochs: EPOCHS, batch_size: 64, lr: 0.05, schedule: one_cycle, augment: {crop: 1}}
seeds: [0, 1]
evaluations:
  - accuracy
  - adversarial: {attacks: [fgsm], norm: Linf, eps: [0.1], max_images: 20}  # looks at the baseline's model
"""

EXECUTORS = [Local(workers=2)]


def written(folder: Path, epochs: int) -> Path:
    """The suite of so many epochs."""
    path = folder / f"of_{epochs}.yaml"
    path.write_text(SUITE.replace("EPOCHS", str(epochs)))
    return path


def results_of(where: Where, suite: Path, results: Path) -> dict[str, bytes]:
    """What an executor makes of a suite: all its records, predictions and weights."""
    outcome = run(suite, results=results, device=DEVICE[1], executor=where)
    assert len(outcome.done) == 4
    assert outcome.failed == {}
    assert outcome.stopped is None
    return everything(results)


@pytest.fixture(scope="module")
def serial(tmp_path_factory) -> Callable[[int], dict[str, bytes]]:
    """What one process makes of the suite of so many epochs."""
    found: dict[int, dict[str, bytes]] = {}

    def once(epochs: int) -> dict[str, bytes]:
        if epochs not in found:
            folder = tmp_path_factory.mktemp("serial")
            found[epochs] = results_of(Serial(), written(folder, epochs), folder / "results")
        return found[epochs]

    return once


@pytest.mark.parametrize("where", EXECUTORS, ids=lambda where: where.name)
def test_records_predictions_and_weights_are_those_of_one_process(
    where: Where, tmp_path: Path, serial
) -> None:
    found = results_of(where, written(tmp_path, 2), tmp_path / "results")
    assert len(found) == 4 * (2 + 2 + 1)  # records and predictions of two evaluations, weights
    assert found == serial(2)
    assert not list(tmp_path.rglob(".holder"))


POOL = ("--executor", "local", "--workers", "2")


class Driver:
    """`hugbench run`, in a process group of its own as a shell's jobs are."""

    def __init__(self, suite: Path, results: Path, *options: str) -> None:
        self.results = results
        self.process = subprocess.Popen(
            command("run", suite, "--results", results, *DEVICE, *(options or POOL)),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def trains(self) -> list[int]:
        """Wait until both workers have finished an epoch here; their ids."""
        before, deadline = self._epochs(), time.monotonic() + 120
        while sum(now > then for now, then in zip(self._epochs(), before, strict=True)) < 2:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        assert len(children) == 2
        return list(map(int, children))

    def signal(self, number: int) -> None:
        """What a terminal does at Ctrl-C: all of the group hear it."""
        os.killpg(self.process.pid, number)

    def end(self) -> tuple[int, str, str]:
        """Exit code, output and errors."""
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err

    def _epochs(self) -> list[int]:
        logs = [folder / "train.jsonl" for folder in sorted((self.results / "runs").glob("*"))]
        lengths = [log.read_text().count("\n") if log.exists() else 0 for log in logs]
        return [*lengths, *[0] * (4 - len(lengths))]


def lives(pid: int) -> bool:
    """Whether there is such a process that is not a dead one whose new parent has not looked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def assert_gone(pids: list[int], within: float) -> None:
    deadline = time.monotonic() + within
    while any(map(lives, pids)):
        assert time.monotonic() < deadline, "a worker outlives its driver"
        time.sleep(0.01)


def test_interrupted_killed_and_shared_by_two_it_ends_as_if_left_alone(tmp_path: Path, serial) -> None:
    epochs = 12
    suite, results = written(tmp_path, epochs), tmp_path / "results"

    driver = Driver(suite, results)
    workers = driver.trains()
    driver.signal(signal.SIGINT)
    code, out, err = driver.end()
    assert code == 130, err
    assert "stopping at the next checkpoint" in out
    assert "stopped early (interrupted)" in err
    assert "runs are left; the same command goes on" in err
    assert_gone(workers, 0.0)
    assert len(list(results.rglob("resume.pt"))) == 2, "no checkpoint to go on from"

    driver = Driver(suite, results)
    workers = driver.trains()
    driver.signal(signal.SIGTERM)
    driver.signal(signal.SIGINT)
    code, out, err = driver.end()
    assert code == 130
    assert err.splitlines() == ["interrupted; the same command goes on from what is finished"]
    assert "goes on after epoch" in out
    assert_gone(workers, 0.0)

    driver = Driver(suite, results)
    workers = driver.trains()
    os.kill(workers[0], signal.SIGKILL)
    driver.process.kill()
    assert_gone(workers, 10.0)
    driver.end()

    pair = [Driver(suite, results), Driver(suite, results, "--executor", "serial")]
    ends = [driver.end() for driver in pair]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert everything(results) == serial(epochs)
