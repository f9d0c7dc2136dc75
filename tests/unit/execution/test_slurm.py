"""The Slurm executor's driver, on a cluster that is played: no process, no waiting."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from hugbench.errors import HugbenchError, UserError
from hugbench.execution.control import Control
from hugbench.execution.events import EpochDone, Event, Notice, RunDone, RunFailed
from hugbench.execution.executors import slurm as driver
from hugbench.execution.executors import slurm_submitting
from hugbench.execution.executors.messages import Ended
from hugbench.execution.executors.slurm_clusters import Refused, Shape
from hugbench.execution.executors.slurm_files import Begun, GaveUp, Ledger, Submitted, Trouble
from hugbench.execution.executors.slurm_job import RunJob
from hugbench.execution.place import Place
from hugbench.execution.schedule import Tally, Work
from hugbench.execution.where import Slurm
from hugbench.results.store import RunFolder
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import make_plan
from tests.unit.finished import suite

EPOCH = EpochDone("", 0, 1, 1.0, 0.5, 100.0, 1.0)
Part = Callable[["Played", str, RunJob], bool]
"""What a job does each time it is looked at; whether it is still there."""


def done(cluster: Played, job: str, call: RunJob) -> bool:
    call.mailbox.open()
    for message in (Begun("node1", 4), EPOCH, Ended("done")):
        call.mailbox.say(message)
    return False


def vanishes(cluster: Played, job: str, call: RunJob) -> bool:
    call.mailbox.open()
    call.mailbox.say(Begun("node1", 4))
    return False


def timed_out(cluster: Played, job: str, call: RunJob) -> bool:
    call.mailbox.open()
    call.mailbox.say(Begun("node1", 4))
    call.mailbox.say(EPOCH)
    cluster.states[job] = "TIMEOUT"
    return False


def never_starts(cluster: Played, job: str, call: RunJob) -> bool:
    cluster.states[job] = "FAILED"
    return False


def is_cancelled(cluster: Played, job: str, call: RunJob) -> bool:
    cluster.states[job] = "CANCELLED"
    return False


def gives_up(cluster: Played, job: str, call: RunJob) -> bool:
    call.mailbox.open()
    call.mailbox.say(Begun("node1", 4))
    call.mailbox.say(GaveUp("stored nothing"))
    return False


def waits(cluster: Played, job: str, call: RunJob) -> bool:
    return True


def goes_on(cluster: Played, job: str, call: RunJob) -> bool:
    """Until it is asked to stop."""
    call.mailbox.open()
    call.mailbox.say(Begun("node1", 4))
    if call.mailbox.stop.exists():
        call.mailbox.say(Ended("stopped"))
    return not call.mailbox.stop.exists()


def complains(text: str, user: bool) -> Part:
    def part(cluster: Played, job: str, call: RunJob) -> bool:
        call.mailbox.open()
        call.mailbox.say(Trouble(text, user))
        return False

    return part


@dataclass
class Played:
    """A cluster whose jobs play the parts of a script: of each run, one after the other, the last again."""

    script: Mapping[str, Sequence[Part]] = field(default_factory=dict)
    otherwise: Sequence[Part] = (done,)
    workers: int = 8
    queues: bool = True
    name: str = "played"
    patience: float = 0.0
    pauses: tuple[float, float] = (0.0, 0.0)
    refuses: Callable[[int], bool] = lambda count: False
    arrays: list[tuple[int, Shape]] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, tuple[Part, RunJob]] = field(default_factory=dict)
    array_of: dict[str, int] = field(default_factory=dict)
    played: dict[str, int] = field(default_factory=dict)
    most: int = 0
    unqueued: set[str] = field(default_factory=set)
    killed: dict[str, int | None] = field(default_factory=dict)

    def submit(self, jobs: Sequence[RunJob], shape: Shape, folder: Path) -> list[str]:
        if self.refuses(len(self.arrays)):
            raise Refused("QOSMaxSubmitJobPerUserLimit")
        folder.mkdir(parents=True, exist_ok=True)
        ids = [f"{len(self.arrays)}_{index}" for index in range(len(jobs))]
        for job, call in zip(ids, jobs, strict=True):
            run_id = call.planned.run.run_id
            parts = self.script.get(run_id, self.otherwise)
            part = parts[min(self.played.get(run_id, 0), len(parts) - 1)]
            self.played[run_id] = self.played.get(run_id, 0) + 1
            self.jobs[job], self.array_of[job] = (part, call), len(self.arrays)
            (folder / f"{job}_submitted.pkl").touch()
        self.arrays.append((len(jobs), shape))
        shares: dict[int, int] = {}
        for job in self.jobs:
            shares[self.array_of[job]] = shares.get(self.array_of[job], 0) + 1
        self.most = max(self.most, sum(min(n, self.arrays[a][1].at_once) for a, n in shares.items()))
        return ids

    def alive(self, jobs: Iterable[str], folder: Path) -> set[str]:
        for job in [job for job in jobs if job in self.jobs]:
            part, call = self.jobs[job]
            if not part(self, job, call):
                del self.jobs[job]
        return {job for job in jobs if job in self.jobs}

    def state(self, job: str) -> str:
        return self.states.get(job, "")

    def unqueue(self, jobs: Iterable[str]) -> None:
        for job in [job for job in jobs if job in self.jobs and self.jobs[job][0] is waits]:
            del self.jobs[job]
            self.unqueued.add(job)

    def kill(self, jobs: Mapping[str, int | None]) -> None:
        self.killed = dict(jobs)


@dataclass
class Stage:
    """A suite of nine runs, and what comes of it on a cluster."""

    work: Work
    monkeypatch: pytest.MonkeyPatch
    told: list[Event] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        return [planned.run.run_id for planned in self.work.runs]

    @property
    def slurm(self) -> Path:
        return self.work.place.results / "slurm"

    def play(self, cluster: Played, control: Control | None = None, **options: object) -> Tally:
        self.monkeypatch.setattr(driver, "cluster", lambda where, threads: cluster)
        return driver.slurm(Slurm(**options), self.work, control or Control(), self.told.append)

    def notices(self) -> str:
        return "\n".join(event.text for event in self.told if isinstance(event, Notice))


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(driver, "LISTEN_SECONDS", 0.001)
    monkeypatch.setattr(slurm_submitting, "AGAIN_SECONDS", 0.01)
    plan = make_plan(load_suite(suite(tmp_path)))
    place = Place(tmp_path / "data", tmp_path / "results", torch.device("cpu"))
    threads = {planned.run.run_id: 2 for planned in plan.runs}
    return Stage(Work(plan.runs, plan.evaluations, place, threads), monkeypatch)


def test_all_runs_are_one_array_and_nothing_is_left_behind(stage: Stage) -> None:
    cluster = Played()
    assert sorted(stage.play(cluster).done) == sorted(stage.ids)
    assert cluster.arrays == [(9, Shape(threads=2, cpus=2, gpus=0, at_once=8))]
    assert "9 runs are in Slurm's queue: 0_0 to 0_8" in stage.notices()
    assert stage.told.count(EPOCH) == 9
    assert [path.name for path in stage.slurm.iterdir()] == [".lock"]


@pytest.mark.parametrize(("workers", "size"), [(1, 1), (1, 4), (3, 2), (4, 3), (9, 5), (100, 1000)])
def test_arrays_are_no_larger_than_allowed_and_never_run_more_jobs_together(stage, workers, size) -> None:
    cluster = Played(workers=workers)
    assert len(stage.play(cluster, array_size=size).done) == 9
    assert max(count for count, _ in cluster.arrays) <= size
    assert sum(count for count, _ in cluster.arrays) == 9
    assert cluster.most <= workers


def test_without_a_queue_only_as_many_jobs_are_there_as_may_run(stage: Stage) -> None:
    cluster = Played(workers=2, queues=False)
    assert len(stage.play(cluster).done) == 9
    assert max(count for count, _ in cluster.arrays) <= 2
    assert cluster.most == 2


def test_runs_of_other_threads_are_another_array(stage: Stage) -> None:
    stage.work.threads[stage.ids[4]] = 4
    cluster = Played()
    stage.play(cluster)
    assert [(count, shape.threads, shape.cpus) for count, shape in cluster.arrays] == [(8, 2, 2), (1, 4, 4)]


def test_gpus_per_run_is_a_process_for_each_gpu(stage: Stage) -> None:
    cluster = Played()
    calls = []
    cluster.otherwise = (lambda c, job, call: calls.append(call) or done(c, job, call),)
    stage.work.threads.clear()
    stage.play(cluster, gpus_per_run=2)
    assert cluster.arrays[0][1] == Shape(threads=None, cpus=4, gpus=2, at_once=8)
    assert {(call.ranks, call.place.device) for call in calls} == {(2, torch.device("cuda"))}


def test_a_job_that_is_lost_is_submitted_again_and_the_third_is_the_last(stage: Stage) -> None:
    once, always, weak = stage.ids[0], stage.ids[1], stage.ids[2]
    cluster = Played({once: (vanishes, done), always: (vanishes,), weak: (gives_up,)})
    tally = stage.play(cluster)
    assert sorted(tally.failed) == sorted([always, weak])
    assert once in tally.done
    assert cluster.played[once] == 2
    assert cluster.played[always] == cluster.played[weak] == 3
    errors = {event.run_id: event.error for event in stage.told if isinstance(event, RunFailed)}
    assert "ended without a word in job" in errors[always]
    assert "stored nothing" in errors[weak]
    assert RunFolder(stage.work.place.results, always).status().state == "failed"
    assert "logs of jobs that ended badly are in" in stage.notices()
    assert len(list(stage.slurm.glob("*/submitit"))) == 1


def test_a_run_that_gets_on_is_not_to_blame_for_the_time_or_the_node(stage: Stage) -> None:
    cluster = Played({stage.ids[3]: (timed_out, timed_out, timed_out, timed_out, done)})
    assert stage.ids[3] in stage.play(cluster).done
    assert "ended as TIMEOUT" in stage.notices()


def test_a_job_cancelled_from_outside_is_lost_and_no_false_start(stage: Stage) -> None:
    cluster = Played(dict.fromkeys(stage.ids, (is_cancelled, done)))
    assert len(stage.play(cluster).done) == 9
    assert "ended as CANCELLED" in stage.notices()


def test_jobs_that_never_start_end_the_suite(stage: Stage) -> None:
    cluster = Played(otherwise=(never_starts,))
    with pytest.raises(
        HugbenchError, match=r"jobs do not start: the last ended as FAILED.*share.*logs are in"
    ):
        stage.play(cluster)
    assert len(cluster.killed) == 7  # but for the two that had been lost before


def test_an_error_that_concerns_all_ends_all(stage: Stage) -> None:
    for user, kind in ((True, UserError), (False, HugbenchError)):
        cluster = Played({stage.ids[5]: (complains("--data: is another folder", user),)}, otherwise=(waits,))
        with pytest.raises(kind, match=r"^--data: is another folder$"):
            stage.play(cluster)
        assert len(cluster.killed) == 9


def test_a_second_interruption_kills(stage: Stage) -> None:
    def interrupted(event: Event) -> None:
        if isinstance(event, Notice):
            raise KeyboardInterrupt

    cluster = Played(otherwise=(timed_out,))
    stage.monkeypatch.setattr(driver, "cluster", lambda where, threads: cluster)
    with pytest.raises(KeyboardInterrupt):
        driver.slurm(Slurm(), stage.work, Control(), interrupted)
    assert len(cluster.killed) == 9, "jobs that were submitted just now live"
    assert len(list(stage.slurm.glob("*/stop/*"))) == 9
    assert len(stage.play(Played()).done) == 9


def test_stopping_cancels_what_waits_and_asks_what_runs(stage: Stage) -> None:
    control = Control()
    looks = []

    def then_stop(cluster: Played, job: str, call: RunJob) -> bool:
        looks.append(job)
        if len(looks) == 20:
            control.stop("interrupted")
        return goes_on(cluster, job, call)

    cluster = Played(otherwise=(waits,), script=dict.fromkeys(stage.ids[:3], (then_stop,)))
    tally = stage.play(cluster, control, array_size=6)
    assert sorted(tally.left) == sorted(stage.ids)
    assert len(cluster.unqueued) == 3
    assert sum(count for count, _ in cluster.arrays) == 6, "the last three were submitted"
    assert not tally.done
    assert not tally.failed


def test_a_cluster_that_takes_no_jobs(stage: Stage) -> None:
    with pytest.raises(UserError, match=r"Slurm refuses the jobs: QOSMaxSubmit.*--array-size"):
        stage.play(Played(refuses=lambda count: True))
    asked = []

    def at_first(count: int) -> bool:
        asked.append(count)
        return count == 1 and asked.count(1) < 3

    first = Played(
        workers=100,
        refuses=at_first,
        otherwise=(lambda c, job, call: asked.count(1) < 3 or done(c, job, call),),
    )
    assert len(stage.play(first, array_size=5).done) == 9
    assert (
        stage.notices().count("Slurm takes no more jobs now (QOSMaxSubmitJobPerUserLimit); the rest waits")
        == 1
    )


@pytest.fixture
def left(stage: Stage) -> Callable[[Played, int], Submitted]:
    """A driver that was killed when it had submitted some of the runs."""

    def leave(cluster: Played, count: int) -> Submitted:
        ledger = Ledger(stage.work.place.results, cluster.name)
        own = ledger.own
        names = [f"{run_id}.0" for run_id in stage.ids[:count]]
        place, evaluations = stage.work.place, stage.work.evaluations
        calls = [
            RunJob(planned, evaluations, place, own.mailbox(name), (), None, 60.0, 1)
            for planned, name in zip(stage.work.runs, names, strict=False)
        ]
        ids = cluster.submit(calls, Shape(2, 2, 0, 8), own.path / "submitit")
        own.note(dict(zip(names, ids, strict=True)))
        ledger.close()
        return own

    return leave


def test_jobs_of_a_driver_that_is_gone_are_taken_up(stage: Stage, left) -> None:
    cluster = Played(otherwise=(goes_on,), script=dict.fromkeys(stage.ids[2:], (done,)))
    before = left(cluster, 4)
    before.mailbox(f"{stage.ids[0]}.0").stop.touch()  # taken back, or the job would end as stopped
    looks = []

    def then_done(c: Played, job: str, call: RunJob) -> bool:
        looks.append(job)
        return len(looks) < 30 or call.mailbox.stop.exists() or done(c, job, call)

    cluster.jobs = {job: (then_done, call) for job, (_, call) in cluster.jobs.items()}
    for planned in stage.work.runs[:4]:  # as their jobs would have it
        folder = RunFolder(stage.work.place.results, planned.run.run_id)
        status = folder.status()
        status.state = "trained"
        status.evaluations = [spec.keyed(None) for spec in stage.work.evaluations]
        folder.path.mkdir(parents=True)
        folder.write_status(status)
    assert len(stage.play(cluster).done) == 9
    assert [count for count, _ in cluster.arrays] == [4, 5]
    assert "4 runs go on in jobs that are there already" in stage.notices()
    assert not before.path.exists()


def test_a_job_that_was_asked_less_does_not_count_as_done(stage: Stage, left) -> None:
    cluster = Played()
    left(cluster, 1)
    _, call = cluster.jobs["0_0"]
    looks = []
    cluster.jobs["0_0"] = (
        (lambda c, job, call: looks.append(job) or len(looks) < 20 or done(c, job, call)),
        call,
    )
    assert len(stage.play(cluster).done) == 9
    assert cluster.played[stage.ids[0]] == 2


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[1]"),
        lambda path: path.write_text('{"cluster": "played", "jobs": 3}'),
        lambda path: path.write_bytes(b"\xff\xfe\x00"),
        lambda path: path.unlink(),
    ],
)
def test_a_damaged_record_loses_nothing_that_lives(stage: Stage, left, harm: Callable[[Path], None]) -> None:
    cluster = Played(otherwise=(waits,))
    before = left(cluster, 4)
    harm(before.path / "jobs.json")
    cluster.otherwise = (done,)
    assert len(stage.play(cluster).done) == 9
    assert before.path.exists(), "jobs that live have lost their folder"
    cluster.jobs.clear()
    stage.play(cluster)
    assert not before.path.exists()


def test_a_stale_record_and_one_of_another_cluster(stage: Stage, left) -> None:
    stale = left(Played(), 3)
    elsewhere = left(Played(name="local on another machine"), 3)
    (stage.slurm / "empty").mkdir()
    cluster = Played()
    assert len(stage.play(cluster).done) == 9
    assert [count for count, _ in cluster.arrays] == [9]
    assert not stale.path.exists()
    assert not (stage.slurm / "empty").exists()
    assert elsewhere.path.exists()


def test_the_folder_of_a_driver_that_lives_is_left_alone(stage: Stage) -> None:
    lives = Ledger(stage.work.place.results, "played")
    assert len(stage.play(Played()).done) == 9
    assert lives.own.path.exists()
    lives.close()
    stage.play(Played())
    assert not lives.own.path.exists()


def test_a_run_that_another_process_is_at_is_waited_for_and_not_submitted(stage: Stage) -> None:
    cluster = Played()
    folder = RunFolder(stage.work.place.results, stage.ids[0])
    lock = folder.lock()
    assert lock.__enter__()

    def free(event: Event) -> None:
        stage.told.append(event)
        if stage.told.count(EPOCH) == 8:
            lock.__exit__(None, None, None)

    stage.monkeypatch.setattr(driver, "cluster", lambda where, threads: cluster)
    tally = driver.slurm(Slurm(), stage.work, Control(), free)
    assert len(tally.done) == 9
    assert cluster.played[stage.ids[0]] == 1


def test_results_that_cannot_be_named(stage: Stage, tmp_path: Path) -> None:
    object.__setattr__(stage.work, "place", Place(tmp_path, tmp_path / "50%", torch.device("cpu")))
    with pytest.raises(UserError, match="no % can be in the path"):
        stage.play(Played())


def test_what_is_told_of_runs_is_told_once(stage: Stage) -> None:
    ends = [RunDone(run_id, "x", 0, 1.0) for run_id in stage.ids]

    def part(cluster: Played, job: str, call: RunJob) -> bool:
        call.mailbox.open()
        call.mailbox.say(ends[stage.ids.index(call.planned.run.run_id)])
        call.mailbox.say(Ended("done"))
        call.mailbox.say(Ended("failed"))  # a second attempt of Slurm's at the same job
        return False

    tally = stage.play(Played(otherwise=(part,)))
    assert sorted(tally.done) == sorted(stage.ids)
    assert not tally.failed
    assert sorted(e.run_id for e in stage.told if isinstance(e, RunDone)) == sorted(stage.ids)


def test_records_are_json(stage: Stage, left) -> None:
    told = json.loads((left(Played(), 2).path / "jobs.json").read_text())
    assert told == {"cluster": "played", "jobs": {f"{stage.ids[0]}.0": "0_0", f"{stage.ids[1]}.0": "0_1"}}
    shutil.rmtree(stage.slurm)
