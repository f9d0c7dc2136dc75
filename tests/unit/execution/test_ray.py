"""The Ray executor on a real local Ray, which all tests here share and which stays the driver's own."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hugbench import api
from hugbench.errors import HugbenchError, UserError
from hugbench.execution import preparation
from hugbench.execution.control import Control
from hugbench.execution.events import (
    EpochDone,
    Event,
    Notice,
    Observer,
    Printed,
    RunDone,
    RunFailed,
    RunStarted,
)
from hugbench.execution.executors import ray as executor_module
from hugbench.execution.executors import ray_cluster
from hugbench.execution.executors.ray import ray
from hugbench.execution.executors.ray_cluster import Needs, connected
from hugbench.execution.executors.serial import serial
from hugbench.execution.place import Place
from hugbench.execution.schedule import Work
from hugbench.execution.where import Ray, Serial, executor
from hugbench.results.store import RunFolder
from hugbench.suite.plan import PlannedRun

library = pytest.importorskip("ray")

SUITE = """\
criteria: [cross_entropy, {hug: {uniformity: mhe}}]
baseline: cross_entropy
seeds: [0]
dataset: {name: digits, validation: 0.1, max_train: 128, max_test: 50}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 8}
recipe: {epochs: 2, batch_size: 64, lr: 0.05, snapshot_every: 1}
evaluations: [accuracy]
"""
PAIRED = "evaluations: [accuracy, {adversarial: {attack: screen, eps: [1/255], max_images: 20}}]"
UNREADY = """\
import os, signal
from pathlib import Path
from torch import nn

class Unready(nn.CrossEntropyLoss):
    def forward(self, logits, targets):
        print("unready")
        mark = Path({mark!r})
        if {always} or not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(logits, targets)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of two processors that the tests' process is connected to."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets need a short path
    library.init(
        address="local",
        num_cpus=2,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=100 << 20,
        _temp_dir=folder,
    )
    yield
    library.shutdown()
    shutil.rmtree(folder)


def work_of(folder: Path, text: str = SUITE, device=None) -> Work:
    """A suite's runs, with results in a folder of this name."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.yaml").write_text(text)
    made, root = api.planned(api.validate(folder / "suite.yaml"), None, folder / "results", False)
    place = Place(Path("data"), root, device or torch.device("cpu"))
    runs = made.distinct()
    return Work(tuple(runs), made.evaluations, place, {planned.run.run_id: 1 for planned in runs})


def everything(work: Work) -> dict[str, bytes]:
    """Records, predictions and weights of every run, byte for byte."""
    root = work.place.results
    files = [path for path in root.rglob("*") if path.suffix in (".parquet", ".safetensors")]
    files += root.rglob("records/*.jsonl")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    """What a suite comes to in one process."""
    known: dict[str, dict[str, bytes]] = {}

    def results(text: str = SUITE) -> dict[str, bytes]:
        if text not in known:
            work = work_of(tmp_path_factory.mktemp("alone"), text)
            assert len(serial(Serial(), work, Control(), lambda event: None).done) == len(work.runs)
            known[text] = everything(work)
        return known[text]

    return results


def stopping_at_an_epoch(control: Control) -> Observer:
    """Has the suite end once an epoch is over."""

    def observe(event: Event) -> None:
        if isinstance(event, EpochDone):
            control.stop("enough")

    return observe


@contextmanager
def unseen_token(place: Place) -> Iterator[tuple[str, str]]:
    """A token that no worker finds: as if it had another results folder at that path."""
    yield ".hugbench-ray-elsewhere", "content"


def test_runs_equal_those_of_one_process(cluster, tmp_path: Path, alone) -> None:
    work, events = work_of(tmp_path), list[Event]()
    tally = ray(Ray(workers=2), work, Control(), events.append)
    assert sorted(tally.done) == sorted(planned.run.run_id for planned in work.runs)
    assert everything(work) == alone()
    for planned in work.runs:
        kinds = [type(event) for event in events if getattr(event, "run_id", None) == planned.run.run_id]
        assert kinds[:3] == [RunStarted, EpochDone, EpochDone]
        assert kinds[-1] is RunDone
    assert {path.name for path in work.place.results.iterdir()} == {"runs"}, "no token is left behind"
    assert library.is_initialized(), "the driver keeps its Ray"


def test_threads_are_those_that_the_driver_found(cluster, tmp_path: Path) -> None:
    work = work_of(tmp_path, SUITE.replace("epochs: 2", "epochs: 1"))
    run_ids = [planned.run.run_id for planned in work.runs]
    work = replace(work, threads=dict(zip(run_ids, (1, 2), strict=True)))
    ray(Ray(), work, Control(), lambda event: None)
    for run_id, threads in work.threads.items():
        environment = json.loads((work.place.results / "runs" / run_id / "environment.json").read_text())
        assert environment["sessions"][0]["threads"] == threads


def test_results_are_sent_where_they_are_not_seen(
    cluster, tmp_path: Path, alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_module, "token_in", unseen_token)
    text = SUITE.replace("evaluations: [accuracy]", PAIRED)
    work, control = work_of(tmp_path, text), Control()
    begun = replace(work, runs=work.runs[1:])  # there is a checkpoint to send
    assert len(serial(Serial(), begun, control, stopping_at_an_epoch(control)).left) == 1
    events = list[Event]()
    tally = ray(Ray(workers=2), work, Control(), events.append)
    assert len(tally.done) == 2
    assert sorted(event.first_epoch for event in events if isinstance(event, RunStarted)) == [0, 1]
    assert everything(work) == alone(text)
    assert not list(work.place.results.rglob("resume.pt"))


def test_a_run_whose_folder_others_have_is_not_sent(cluster, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(executor_module, "token_in", unseen_token)
    work, control = work_of(tmp_path), Control()
    work = replace(work, runs=work.runs[:1])
    told = list[Event]()

    def observe(event: Event) -> None:
        told.append(event)
        control.stop("enough")

    with RunFolder(work.place.results, work.runs[0].run.run_id).lock() as mine:
        assert mine
        tally = ray(Ray(), work, control, observe)
    assert tally.left == [work.runs[0].run.run_id]
    assert "RunWaiting" in {type(event).__name__ for event in told}


@pytest.mark.parametrize("always", [False, True])
def test_workers_that_are_killed(cluster, tmp_path: Path, always: bool) -> None:
    (tmp_path / "unready.py").write_text(UNREADY.format(mark=str(tmp_path / "mark"), always=always))
    criteria = f"criteria: [cross_entropy, {tmp_path}/unready.py:Unready]"
    (tmp_path / "mark").touch()  # the driver tries the loss, too
    text = criteria + SUITE[SUITE.index("\nbaseline") :]
    (tmp_path / "unready.py").write_text(UNREADY.format(mark=str(tmp_path / "mark"), always=False))
    work = work_of(tmp_path, text)
    reference = work_of(tmp_path / "alone", text)
    serial(Serial(), reference, Control(), lambda event: None)
    (tmp_path / "mark").unlink()
    if always:
        (tmp_path / "unready.py").write_text(UNREADY.format(mark=str(tmp_path / "mark"), always=True))
    events = list[Event]()
    tally = ray(Ray(workers=2), work, Control(), events.append)
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert len([text for text in notices if "its worker was killed or crashed" in text]) == (
        2 if always else 1
    )
    if always:
        own = next(planned for planned in work.runs if planned.label != "cross_entropy")
        assert tally.failed == [own.run.run_id]
        assert len(tally.done) == 1
        assert "WorkerLost" in next(event.error for event in events if isinstance(event, RunFailed))
        assert "WorkerLost" in (RunFolder(work.place.results, own.run.run_id).status().error or "")
    else:
        assert len(tally.done) == 2
        assert everything(work) == everything(reference)
        assert Printed("unready") in events


def test_no_more_runs_at_a_time_than_have_room(cluster, tmp_path: Path) -> None:
    work = work_of(tmp_path, SUITE.replace("epochs: 2", "epochs: 20"))
    work = replace(work, runs=(*work.runs, *more_of(work.runs)))
    at_once = list[int]()

    def observe(event: Event) -> None:
        at_once.append(len(list(work.place.results.glob("runs/*/.holder"))))

    assert len(ray(Ray(), work, Control(), observe).done) == 4
    assert max(at_once) == 2


@pytest.mark.parametrize("seen", [True, False])
def test_an_end_at_the_next_checkpoint(cluster, tmp_path: Path, monkeypatch, seen: bool) -> None:
    if not seen:
        monkeypatch.setattr(executor_module, "token_in", unseen_token)
    work, control = work_of(tmp_path, SUITE.replace("epochs: 2", "epochs: 2000")), Control()
    work = replace(work, runs=(*work.runs, *more_of(work.runs)))  # not all of them begin
    tally = ray(Ray(), work, control, stopping_at_an_epoch(control))
    assert len(tally.left) == len(work.runs)
    assert any(RunFolder(work.place.results, run_id).checkpoint.exists() for run_id in tally.left)


def more_of(runs: tuple[PlannedRun, ...]) -> Iterator[PlannedRun]:
    for planned in runs:
        yield replace(planned, run=replace(planned.run, run_id=f"{planned.run.run_id}-more", seed=1))


def test_an_interruption_cancels(cluster, tmp_path: Path) -> None:
    work = work_of(tmp_path, SUITE.replace("epochs: 2", "epochs: 20000"))

    def interrupt(event: Event) -> None:
        if isinstance(event, EpochDone):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ray(Ray(workers=2), work, Control(), interrupt)
    folders = [RunFolder(work.place.results, planned.run.run_id) for planned in work.runs]
    deadline = time.monotonic() + 20
    while not all(is_free(folder) for folder in folders):
        assert time.monotonic() < deadline, "a worker goes on"
        time.sleep(0.1)


def is_free(folder: RunFolder) -> bool:
    with folder.lock() as mine:
        return mine


def test_another_data_folder(cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hugbench.execution.executors import ray_orders

    work = work_of(tmp_path)
    monkeypatch.setattr(ray_orders, "names_in", lambda data: ("cifar100",))
    work = replace(work, place=replace(work.place, data=tmp_path / "none"))
    with pytest.raises(UserError, match=r"--data: the data folder is not on the machine .*none"):
        ray(Ray(), work, Control(), lambda event: None)
    (tmp_path / "none" / "other").mkdir(parents=True)
    with pytest.raises(UserError, match=r"--data: the data folder on the machine .* lacks cifar100"):
        ray(Ray(), work, Control(), lambda event: None)


def test_other_data_of_the_same_name(cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hugbench.execution.executors import ray_orders

    def changed(*arguments: object):
        return replace(preparation.dataset_of(*arguments), checksum="another")

    monkeypatch.setattr(ray_orders, "dataset_of", changed)
    with pytest.raises(UserError, match="digits is not the same data on the machine"):
        ray(Ray(), work_of(tmp_path), Control(), lambda event: None)


def test_another_hugbench(cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hugbench.execution.executors import ray_orders

    monkeypatch.setattr(ray_orders, "__version__", "99.0")
    with pytest.raises(
        UserError, match=r"--ray-address: hugbench .* is installed on the machine .*; expected 99.0"
    ):
        ray(Ray(), work_of(tmp_path), Control(), lambda event: None)


def test_a_full_disk_ends_the_suite(cluster, tmp_path: Path) -> None:
    work = work_of(tmp_path)
    for planned in work.runs:
        folder = RunFolder(work.place.results, planned.run.run_id)
        folder.path.mkdir(parents=True)
        (folder.path / ".lock").mkdir()
    with pytest.raises((UserError, OSError)):
        ray(Ray(), work, Control(), lambda event: None)


def test_a_cluster_that_goes_away(cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = work_of(tmp_path, SUITE.replace("epochs: 2", "epochs: 200"))
    monkeypatch.setattr(executor_module, "LOOK_SECONDS", 0.3)
    monkeypatch.setattr(ray_cluster, "GONE_SECONDS", 0.5)
    monkeypatch.setattr(ray_cluster, "_answers", lambda head: False)
    with pytest.raises(HugbenchError, match="the Ray cluster has gone away"):
        ray(Ray(), work, Control(), lambda event: None)


def test_gpus_that_are_not_there(cluster, tmp_path: Path) -> None:
    import torch

    with pytest.raises(UserError, match="--gpus-per-run: no node of the cluster has as many GPUs"):
        ray(Ray(gpus_per_run=0.5), work_of(tmp_path), Control(), lambda event: None)
    for device in ("cuda:1", "mps"):
        with pytest.raises(UserError, match="--device: Ray chooses the GPU of each run"):
            ray(Ray(), work_of(tmp_path, device=torch.device(device)), Control(), lambda event: None)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "local", "ray://127.0.0.1:1"])
def test_another_cluster_than_the_drivers(cluster, address: str) -> None:
    with (
        pytest.raises(UserError, match="connected to another Ray cluster"),
        connected(Ray(ray_address=address), Needs(1, 0)),
    ):
        pass
    assert library.is_initialized()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nobody were connected, whoever is."""
    monkeypatch.setattr(library, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_cluster, "CONNECT_SECONDS", 4.0)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_is(elsewhere, scheme: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{free.getsockname()[1]}"
        begun = time.monotonic()
        with (
            pytest.raises(UserError, match=r"--ray-address: cannot be reached .*refused"),
            connected(Ray(ray_address=address), Needs(1, 0)),
        ):
            pass
        assert time.monotonic() - begun < 6


def test_an_address_where_somebody_else_is(elsewhere) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with (
            pytest.raises(
                UserError, match=r"--ray-address: no Ray cluster .*nobody answers as Ray does within 4 s"
            ),
            connected(Ray(ray_address=address), Needs(1, 0)),
        ):
            pass


def test_addresses_from_the_environment(elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong, told in (("nowhere", "is no address"), ("no.such.host.invalid:6379", "cannot be reached")):
        monkeypatch.setenv("RAY_ADDRESS", wrong)
        with pytest.raises(UserError, match=f"RAY_ADDRESS: {told}"), connected(Ray(), Needs(1, 0)):
            pass


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(UserError, match=r"--executor: Ray cannot be imported .*pip install 'hugbench\[ray\]'"),
        connected(Ray(), Needs(1, 0)),
    ):
        pass


@pytest.mark.parametrize(
    "address",
    ["", "nowhere", "host:", ":6379", "host:0", "host:65536", "http://host:80", "a b:1", "host:1:2"],
)
def test_no_address(address: str) -> None:
    with pytest.raises(UserError, match="--ray-address: is no address; expected auto, HOST:PORT"):
        executor("ray", {"ray_address": address})


@pytest.mark.parametrize(
    "address", ["auto", "local", "head:6379", "10.0.0.1:6379", "[::1]:6379", "ray://h:10001"]
)
def test_addresses(address: str) -> None:
    assert executor("ray", {"ray_address": address}) == Ray(ray_address=address)


@pytest.mark.parametrize("given", [0.0, -1.0, 1.5, float("nan"), float("inf"), 1e-5, 2.0001])
def test_no_share_of_a_gpu(given: float) -> None:
    with pytest.raises(UserError, match="--gpus-per-run"):
        executor("ray", {"gpus_per_run": given})


@pytest.mark.parametrize("given", [0.25, 1.0, 2.0])
def test_shares_of_a_gpu(given: float) -> None:
    assert executor("ray", {"gpus_per_run": given}) == Ray(gpus_per_run=given)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"workers": 0}, "--workers: Input should be greater than 0"),
        ({"workers": -2}, "--workers"),
        ({"partition": "gpu"}, "--partition: is no option of --executor ray; .* --executor slurm"),
        ({"time": 60.0}, "--time: is no option of --executor ray"),
    ],
)
def test_other_options(options: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        executor("ray", options)


def test_options_of_ray_with_other_executors() -> None:
    for name in ("serial", "local", "slurm"):
        with pytest.raises(UserError, match=r"--ray-address: is no option of .*; expected --executor ray"):
            executor(name, {"ray_address": "auto"})
