"""Within a job: signals, time that runs out, requeues, folders that are not shared, several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hugbench.errors import UserError
from hugbench.execution import run as running
from hugbench.execution import together
from hugbench.execution.events import EpochDone, Notice, Printed
from hugbench.execution.executors import slurm_job
from hugbench.execution.executors.messages import Ended
from hugbench.execution.executors.slurm_files import Begun, GaveUp, Inbox, Mailbox, Message, Trouble
from hugbench.execution.executors.slurm_job import RunJob, warning_seconds
from hugbench.execution.place import Place, names_in
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import make_plan
from hugbench.training.ranks import RankFailed, Ranks
from tests.unit.finished import suite

EPOCH = EpochDone("", 0, 1, 1.0, 0.5, 100.0, 1.0)
Body = Callable[[Callable[[object], None], Callable[[], bool]], str]


class Scene:
    """A job whose run is a function `(observe, pause) -> result`, and a stand-in for submitit's requeue."""

    def __init__(self, job: RunJob, monkeypatch: pytest.MonkeyPatch) -> None:
        self.job, self.requeues = job, 0
        self._monkeypatch = monkeypatch

    def requeue(self, number: int, frame: object) -> None:
        self.requeues += 1
        sys.exit(-1)

    def play(
        self, body: Body, requeue: Callable[..., None] | None = None, seen: list[Place] | None = None
    ) -> list[Message]:
        def execute(planned, evaluations, place, observe, pause):
            if seen is not None:
                seen.append(place)
            return body(observe, pause)

        self._monkeypatch.setattr(running, "execute", execute)
        signal.signal(signal.SIGUSR2, requeue or self.requeue)
        begun = len(Inbox(self.job.mailbox).read())
        self.exit: object = None
        try:
            self.job()
        except SystemExit as error:
            self.exit = error.code
        return Inbox(self.job.mailbox).read()[begun:]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    plan = make_plan(load_suite(suite(tmp_path)))
    place = Place(tmp_path / "data", tmp_path, torch.device("cpu"))
    mailbox = Mailbox(tmp_path / "messages" / "x.0", tmp_path / "stop" / "x.0")
    mailbox.stop.parent.mkdir()
    monkeypatch.setattr(slurm_job, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(slurm_job, "_end_soon", lambda code: None)
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGALRM)}
    path = sys.path[:]
    yield Scene(
        RunJob(plan.runs[0], plan.evaluations, place, mailbox, tuple(path), None, 1.0, 1), monkeypatch
    )
    sys.path[:] = path
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("result", ["done", "failed", "busy", "waiting"])
def test_a_job_says_how_its_run_ended(scene: Scene, result: str) -> None:
    said = scene.play(lambda observe, pause: observe(EPOCH) or result)
    assert [type(said[0]), *said[1:]] == [Begun, EPOCH, Ended(result)]
    assert said[0].process == os.getpid()
    assert scene.exit is None


def test_a_wish_to_stop_is_heard_at_a_checkpoint(scene: Scene) -> None:
    def body(observe, pause) -> str:
        assert not pause()
        scene.job.mailbox.stop.touch()
        assert pause()
        return "stopped"

    assert scene.play(body)[-1] == Ended("stopped")
    assert scene.play(body)[-1] == Ended("stopped"), "the run was begun in spite of the wish"
    assert scene.requeues == 0


def test_a_job_that_is_told_of_its_end_stops_at_the_checkpoint_and_is_requeued(scene: Scene) -> None:
    def body(observe, pause) -> str:
        observe(EPOCH)
        signal.raise_signal(signal.SIGUSR2)
        assert pause()
        return "stopped"

    said = scene.play(body)
    assert scene.requeues == 1
    assert scene.exit == -1
    assert isinstance(said[-1], Notice)
    assert "is requeued" in said[-1].text


def test_a_run_that_is_done_in_its_last_seconds_is_not_requeued(scene: Scene) -> None:
    def body(observe, pause) -> str:
        signal.raise_signal(signal.SIGUSR2)
        return "done"

    assert scene.play(body)[-1] == Ended("done")
    assert scene.requeues == 0
    signal.raise_signal(signal.SIGUSR2)  # too late to matter
    time.sleep(0.3)


def test_without_a_checkpoint_in_time_it_is_requeued_all_the_same(scene: Scene) -> None:
    def body(observe, pause) -> str:
        observe(EPOCH)
        signal.raise_signal(signal.SIGUSR2)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            time.sleep(0.01)
        return "done"

    scene.play(body)
    assert scene.requeues == 1


@pytest.mark.parametrize("pauses", [0, 1])
def test_a_job_that_stored_nothing_in_all_of_its_time_gives_up(scene: Scene, pauses: int) -> None:
    def body(observe, pause) -> str:
        for _ in range(pauses):  # the first comes before anything is stored
            pause()
        signal.raise_signal(signal.SIGUSR2)
        time.sleep(10)
        return "done"

    said = scene.play(body)
    assert isinstance(said[-1], GaveUp)
    assert "--time is too short" in said[-1].how
    assert scene.requeues == 0
    assert scene.exit == 1


def test_a_job_that_is_preempted_early_is_requeued_whatever_it_stored(scene: Scene) -> None:
    def body(observe, pause) -> str:
        signal.raise_signal(signal.SIGUSR2)
        assert pause()
        return "stopped"

    scene.job = replace(scene.job, time=4 * 3600.0)
    scene.play(body)
    assert scene.requeues == 1


def test_a_cluster_that_does_not_requeue_leaves_it_to_the_driver(scene: Scene) -> None:
    def refused(number: int, frame: object) -> None:
        raise subprocess.CalledProcessError(1, ["scontrol", "requeue", "1"])

    def body(observe, pause) -> str:
        observe(EPOCH)
        signal.raise_signal(signal.SIGUSR2)
        return "stopped"

    assert scene.play(body, refused)[-1] == Ended("stopped")
    assert scene.exit == 1


def test_data_that_this_machine_does_not_have(scene: Scene, tmp_path: Path) -> None:
    assert names_in(tmp_path / "data") is None
    (tmp_path / "data" / "cifar100").mkdir(parents=True)
    (tmp_path / "data" / ".hugbench").mkdir()
    assert names_in(tmp_path / "data") == ("cifar100",)
    scene.job = replace(scene.job, data=("cifar100",))
    assert scene.play(lambda observe, pause: "done")[-1] == Ended("done")
    scene.job = replace(scene.job, data=("cifar100", "imagenet"))
    with pytest.raises(UserError):
        scene.play(lambda observe, pause: "done")
    trouble = Inbox(scene.job.mailbox).read()[-1]
    assert isinstance(trouble, Trouble)
    assert trouble.user
    assert "--data: is another folder on the machine" in trouble.text
    assert "that all nodes share, with imagenet" in trouble.text


def test_a_job_without_the_gpu_that_it_was_to_get(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    scene.job = replace(scene.job, place=replace(scene.job.place, device=torch.device("cuda")))
    with pytest.raises(UserError, match=r"--gpus-per-run: the job on .* sees no GPU"):
        scene.play(lambda observe, pause: "done")


def test_an_error_that_concerns_all_is_told(scene: Scene) -> None:
    def body(observe, pause) -> str:
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing"):
        scene.play(body)
    assert Inbox(scene.job.mailbox).read()[-1] == Trouble("ValueError: no such thing", user=False)


def test_processes_that_lose_each_other_are_one_jobs_trouble(scene: Scene) -> None:
    def body(observe, pause) -> str:
        raise RankFailed(1, "it ended without a word")

    with pytest.raises(RankFailed):
        scene.play(body)
    said = Inbox(scene.job.mailbox).read()[-1]
    assert isinstance(said, GaveUp)
    assert "gave up: rank 1 failed" in said.how


def test_what_is_printed_is_shown_and_stands_in_the_log(scene: Scene, capsys) -> None:
    def body(observe, pause) -> str:
        print("half", end="")
        print(" a line\n")
        print("10 %\r20 %\x1b[A\r30 %\n\x1b[31mcareful\x1b[0m\n" + "x" * 9000, file=sys.stderr)
        return "done"

    printed = [message.text for message in scene.play(body) if isinstance(message, Printed)]
    assert printed == ["half a line", "30 %", "careful", "x" * 9000]
    assert capsys.readouterr().out == "half a line\n\n"


@pytest.mark.parametrize("rank", [0, 1])
def test_each_of_several_processes_gets_what_torchrun_would_give_it(scene, monkeypatch, rank: int) -> None:
    told = {"EXECUTOR": "local", "LOCAL_JOB_ID": "7", "LOCAL_NTASKS": "2", "LOCAL_JOB_NUM_NODES": "1"}
    told |= {"LOCAL_NODEID": "0", "LOCAL_GLOBALID": str(rank), "LOCAL_LOCALID": str(rank)}
    for name in ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, "of the driver")
    monkeypatch.delenv("MASTER_PORT")
    for name, value in told.items():
        monkeypatch.setenv(f"SUBMITIT_{name}", value)
    found: dict[str, str] = {}
    others = Ranks(rank, 2, torch.device("cpu", 0))
    places: list[Place] = []

    def on_all_ranks(device: str, drive: Callable[[Ranks], Ended]) -> Ended:
        assert device == "cpu"
        found.update(os.environ)
        return drive(others) if rank == 0 else Ended("stopped")

    def body(observe, pause) -> str:
        observe(EPOCH)
        return "done"

    def told_of_the_end(observe, pause) -> str:
        observe(EPOCH)
        signal.raise_signal(signal.SIGUSR2)
        assert pause()
        return "stopped"

    monkeypatch.setattr(together, "on_all_ranks", on_all_ranks)
    scene.job = replace(scene.job, ranks=2)
    said = scene.play(body)
    assert (found["RANK"], found["LOCAL_RANK"], found["WORLD_SIZE"]) == (str(rank), str(rank), "2")
    assert 20000 <= int(found["MASTER_PORT"]) <= 60000
    assert found["MASTER_ADDR"]
    assert [type(message) for message in said] == ([Begun, EpochDone, Ended] if rank == 0 else [])
    scene.play(told_of_the_end, seen=places)
    assert scene.requeues == (1 if rank == 0 else 0)
    assert [(place.ranks, place.device) for place in places] == [(others, others.device)] * (rank == 0)


@pytest.mark.parametrize(("time", "seconds"), [(10, 5), (180, 90), (3600, 180), (4 * 3600, 600), (1e6, 600)])
def test_how_long_before_its_end_a_job_is_told(time: float, seconds: float) -> None:
    assert warning_seconds(time) == seconds


def test_what_is_started_again_is_the_same(scene: Scene) -> None:
    again = scene.job.checkpoint()
    assert again.function is scene.job
    assert (again.args, again.kwargs) == ((), {})


@pytest.mark.parametrize("code", [0, 1])
def test_a_thread_that_a_loss_has_left_does_not_hold_the_job(code: int) -> None:
    left = (
        "import threading, time; from hugbench.execution.executors import slurm_job as job;"
        "job.ENDING_SECONDS = 0.1; threading.Thread(target=time.sleep, args=(600,)).start();"
        f"job._end_soon({code})"
    )
    assert subprocess.run([sys.executable, "-c", left], timeout=60).returncode == code
