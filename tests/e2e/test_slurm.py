"""Runs as jobs: on this machine by submitit's local executor, and on a small Slurm of the tests' own.

Killed, timed out, preempted and left by their driver, they end with the bytes of a serial run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from hugbench import api
from hugbench.execution.events import EpochDone, Event, Notice, RunStarted
from hugbench.execution.executors.messages import Ended
from hugbench.execution.executors.slurm_clusters import Shape
from hugbench.execution.executors.slurm_files import Begun, Inbox, Mailbox
from hugbench.execution.executors.slurm_here import Here
from hugbench.execution.executors.slurm_job import RunJob
from hugbench.execution.place import Place
from hugbench.execution.where import Slurm
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import make_plan
from tests import fake_slurm
from tests.e2e.conftest import command, environment
from tests.e2e.test_cli import DEVICE
from tests.e2e.test_resume import everything

SLOW = """\
import os
import time

import torch
from hugbench import Criterion


class Slow(Criterion):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__(in_features, num_classes)
        self.head = torch.nn.Linear(in_features, num_classes)

    def forward(self, features, targets):
        time.sleep(float(os.environ.get("HUGBENCH_TEST_SLEEP", 0)))
        return torch.nn.functional.cross_entropy(self.logits(features), targets)

    def logits(self, features):
        return self.head(features)
"""

SUITE = """\
criteria: [SLOW.py:Slow]
baseline: Slow
dataset: {name: digits, validation: 0.1, max_train: 320, max_test: 100}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 16}
recipe: {epochs: 24, batch_size: 64, lr: 0.05, schedule: one_cycle, augment: {crop: 1}}
seeds: [0, 1]
evaluations: [accuracy]
"""

BATCHES = 24 * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "slow.py").write_text(SLOW)
    (folder / "suite.yaml").write_text(SUITE.replace("SLOW", str(folder / "slow")))
    return folder


@dataclass(frozen=True)
class Serial:
    """The results of a serial run, and the seconds that it took, of which most go by before the first epoch."""

    results: dict[str, bytes]
    seconds: float


@pytest.fixture(scope="module")
def serial(folder: Path) -> Serial:
    begun = time.monotonic()
    run = command(
        "run", folder / "suite.yaml", "--results", folder / "serial", *DEVICE, "--executor", "serial"
    )
    subprocess.run(run, env=environment(), check=True, capture_output=True)
    return Serial(everything(folder / "serial"), time.monotonic() - begun)


def messages(results: Path) -> list[dict[str, object]]:
    """All that jobs have said."""
    lines = [
        line
        for path in results.glob("slurm/*/messages/*")
        for line in path.read_bytes().split(b"\n")
        if line.endswith(b"}")
    ]
    return [json.loads(line[9:]) for line in lines]


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.mark.slow
def test_a_job_that_is_killed_and_jobs_whose_time_is_up(
    folder: Path, serial: Serial, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = max(30.0, 3 * serial.seconds)  # a job is told after half of them, and must have begun by then
    monkeypatch.setenv("HUGBENCH_TEST_SLEEP", str(seconds / 2 / BATCHES))
    results, told, killed = folder / "here", [], []

    def observe(event: Event) -> None:
        told.append(event)
        if isinstance(event, EpochDone) and not killed:
            begun = [said for said in messages(results) if said["kind"] == "Begun"]
            killed.append(begun[0]["process"])
            os.kill(killed[0], signal.SIGKILL)

    outcome = api.run(
        folder / "suite.yaml",
        results=results,
        device=DEVICE[1],
        executor=Slurm(slurm_cluster="local", time=seconds, workers=2),
        observer=observe,
    )
    assert len(outcome.done) == 2
    assert everything(results) == serial.results
    notices = "\n".join(event.text for event in told if isinstance(event, Notice))
    assert notices.count("its worker ended without a word in job") == 1
    assert "its job is requeued, and goes on then" in notices
    assert "jobs that ended badly" in notices
    resumed = [event.first_epoch for event in told if isinstance(event, RunStarted) and event.first_epoch]
    assert len(resumed) >= 2, "the runs did not go on from their checkpoints"
    for said in killed:
        with pytest.raises(ProcessLookupError):
            os.kill(said, 0)


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a Slurm, whose jobs end with the test."""
    found = environment(**fake_slurm.install(tmp_path), HUGBENCH_TEST_SLEEP="0.05")
    yield found
    jobs = [line.split()[0] for line in call(found, "squeue").splitlines()]
    call(found, "scancel", *jobs)


def call(env: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [f"{env['PATH'].split(os.pathsep)[0]}/{words[0]}", *words[1:]],
        env=env,
        text=True,
        capture_output=True,
    )
    return done.stdout


@pytest.mark.slow
def test_a_preempted_job_and_a_driver_that_is_killed(
    folder: Path, serial: Serial, slurm: dict[str, str]
) -> None:
    results = folder / "there"
    start = command(
        "run", folder / "suite.yaml", "--results", results, *DEVICE, "--executor", "slurm", "--workers", 1
    )
    start += [
        "--partition",
        "cpu",
        "--time",
        "1h",
        "--sbatch",
        "account=me",
        "--sbatch",
        "setup=export HERE=1",
    ]
    first = subprocess.Popen(start, env=slurm, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any(said["kind"] == "EpochDone" for said in messages(results)), first)
    first.kill()
    first.communicate()
    assert call(slurm, "squeue") == "1_0 RUNNING\n1_1 PENDING\n"
    call(slurm, "scancel", "--signal=USR2", "1_0")
    wait_for(lambda: sum(said["kind"] == "Begun" for said in messages(results)) == 2)
    second = subprocess.run(start, env=slurm, capture_output=True, text=True, timeout=300)
    assert second.returncode == 0, second.stderr
    assert "2 runs go on in jobs that are there already" in second.stdout
    assert "seed 0: its job is requeued, and goes on then" in second.stdout
    assert everything(results) == serial.results
    calls = (Path(slurm["FAKE_SLURM"]) / "calls").read_text()
    assert calls.count("sbatch ") == 1, "what was queued was submitted again"
    assert calls.count("scontrol requeue ") == 1
    script = (Path(slurm["FAKE_SLURM"]) / "script.sh").read_text()
    for line in ("#SBATCH --array=0-1%1", "#SBATCH --account=me", "#SBATCH --time=60", "export HERE=1"):
        assert f"{line}\n" in script
    assert [path.name for path in (results / "slurm").iterdir()] == [".lock"]


@pytest.mark.slow
def test_ctrl_c_stops_what_runs_and_cancels_what_waits(
    folder: Path, serial: Serial, slurm: dict[str, str]
) -> None:
    results = folder / "stopped"
    start = command(
        "run", folder / "suite.yaml", "--results", results, *DEVICE, "--executor", "slurm", "--workers", 1
    )
    driver = subprocess.Popen(start, env=slurm, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any(said["kind"] == "EpochDone" for said in messages(results)), driver)
    driver.send_signal(signal.SIGINT)
    _, error = driver.communicate(timeout=300)
    assert driver.returncode == 130, error
    assert "2 runs are left" in error
    assert call(slurm, "squeue") == "1_0 COMPLETED\n1_1 CANCELLED\n"
    assert len(list(results.glob("runs/*/resume.pt"))) == 1
    assert [path.name for path in (results / "slurm").iterdir()] == [".lock"]
    api.run(folder / "suite.yaml", results=results, device=DEVICE[1], executor="serial")
    assert everything(results) == serial.results


@pytest.mark.slow
def test_two_processes_of_a_job_train_a_run_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # as many as processes; these compute on the CPU
    plan = make_plan(load_suite(folder / "suite.yaml", settings=["recipe.epochs=2"], seeds=[0]))
    results, box = folder / "together", Mailbox(folder / "messages" / "x.0", folder / "stop" / "x.0")
    place = Place(folder / "data", results, torch.device("cpu"))
    job = RunJob(plan.runs[0], plan.evaluations, place, box, tuple(sys.path), None, 900.0, 2)
    here, inbox = Here(Slurm(slurm_cluster="local", time=900.0), 1), Inbox(box)
    (started,) = here.submit([job], Shape(threads=1, cpus=1, gpus=2, at_once=1), folder / "submitit")
    wait_for(lambda: not here.alive([started], folder))
    said = inbox.read()
    assert said[-1] == Ended("done"), said
    assert sum(isinstance(message, Begun) for message in said) == 1
    assert sum(isinstance(message, EpochDone) for message in said) == 2
    (told,) = results.glob("runs/*/environment.json")
    assert json.loads(told.read_text())["sessions"][-1]["ranks"] == 2
