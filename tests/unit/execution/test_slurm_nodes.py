"""What is submitted to Slurm, word for word, and what is made of its answers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from hugbench.errors import UserError
from hugbench.execution.executors.slurm_clusters import Refused, Shape, cluster
from hugbench.execution.executors.slurm_files import Mailbox
from hugbench.execution.executors.slurm_here import Here
from hugbench.execution.executors.slurm_job import RunJob
from hugbench.execution.executors.slurm_nodes import Nodes
from hugbench.execution.place import Place
from hugbench.execution.where import Slurm
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import make_plan
from tests import fake_slurm
from tests.unit.finished import suite

CPU = Shape(threads=2, cpus=2, gpus=0, at_once=3)


@pytest.fixture
def jobs(tmp_path: Path) -> list[RunJob]:
    plan = make_plan(load_suite(suite(tmp_path)))
    place = Place(tmp_path / "data", tmp_path, torch.device("cpu"))
    box = Mailbox(tmp_path / "messages", tmp_path / "stop")
    return [RunJob(planned, plan.evaluations, place, box, (), None, 60.0, 1) for planned in plan.runs[:4]]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Slurm that keeps all jobs waiting; its state."""
    for name, value in fake_slurm.install(tmp_path / "slurm").items():
        monkeypatch.setenv(name, value)
    bin_ = tmp_path / "slurm" / "bin"
    (bin_ / "srun").write_text("#!/bin/sh\nexec sleep 60\n")
    yield tmp_path / "slurm" / "state"
    squeue = subprocess.run(["squeue"], capture_output=True, text=True, check=False).stdout
    subprocess.run(["scancel", *(line.split()[0] for line in squeue.splitlines())], check=False)


def submitted(
    where: Slurm, jobs: list[RunJob], shape: Shape, folder: Path, state: Path
) -> tuple[list[str], str]:
    ids = Nodes(where, 1).submit(jobs, shape, folder / "submitit")
    return ids, (state / "script.sh").read_text()


def test_the_script_of_an_array(jobs: list[RunJob], slurm: Path, tmp_path: Path) -> None:
    where = Slurm(partition="cpu", time=7201.0)
    ids, script = submitted(where, jobs, CPU, tmp_path, slurm)
    assert ids == ["1_0", "1_1", "1_2", "1_3"]
    lines = script.splitlines()
    for line in (
        "--array=0-3%3",
        "--partition=cpu",
        "--time=121",
        "--cpus-per-task=2",
        "--ntasks-per-node=1",
        "--nodes=1",
        "--signal=USR2@360",
        "--requeue",
        "--open-mode=append",
        "--job-name=hugbench",
        f"--output={tmp_path}/submitit/%A_%a_0_log.out",
    ):
        assert f"#SBATCH {line}" in lines
    assert "gpu" not in script
    assert lines.index("export OMP_NUM_THREADS=2") < next(
        i for i, x in enumerate(lines) if x.startswith("srun")
    )
    assert " --cpus-per-task=2 " in script
    assert all((tmp_path / "submitit" / f"{job}_submitted.pkl").exists() for job in ids)


def test_what_a_user_adds_wins(jobs: list[RunJob], slurm: Path, tmp_path: Path) -> None:
    given = ("account=me", "cpus_per_task=8", "gres=gpu:a100:2", "exclusive", "setup=module load cuda")
    shape = Shape(threads=None, cpus=4, gpus=2, at_once=1)
    ids, script = submitted(Slurm(sbatch=given, time=60.0), jobs[:1], shape, tmp_path, slurm)
    assert ids == ["1"]
    lines = script.splitlines()
    for line in (
        "--account=me",
        "--cpus-per-task=8",
        "--gres=gpu:a100:2",
        "--exclusive",
        "--ntasks-per-node=2",
    ):
        assert f"#SBATCH {line}" in lines
    assert "module load cuda" in lines
    assert "--array" not in script
    assert "gpus-per-node" not in script
    assert "OMP_NUM_THREADS" not in script
    assert " --cpus-per-task=8 " in script


def test_gpus_and_their_cpus(jobs: list[RunJob], slurm: Path, tmp_path: Path) -> None:
    shape = Shape(threads=None, cpus=4, gpus=2, at_once=4)
    script = submitted(Slurm(), jobs, shape, tmp_path, slurm)[1]
    assert "#SBATCH --gpus-per-node=2\n" in script
    assert "#SBATCH --cpus-per-task=4\n" in script
    script = submitted(Slurm(sbatch=("cpus-per-gpu=6",)), jobs, shape, tmp_path, slurm)[1]
    assert "#SBATCH --cpus-per-gpu=6\n" in script
    assert "cpus-per-task" not in script


def test_a_driver_within_a_job_does_not_pass_its_shape_on(jobs, slurm, tmp_path, monkeypatch) -> None:
    sbatch = tmp_path / "slurm" / "bin" / "sbatch"
    sbatch.write_text(f'#!/bin/sh\nenv > "{tmp_path}/env"\necho Submitted batch job 9\n')
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "64")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("SBATCH_ACCOUNT", "me")
    assert Nodes(Slurm(), 1).submit(jobs[:1], CPU, tmp_path / "submitit") == ["9"]
    told = dict(line.partition("=")[::2] for line in (tmp_path / "env").read_text().splitlines())
    assert "SLURM_JOB_ID" not in told
    assert "SLURM_CPUS_PER_TASK" not in told
    assert told["SLURM_CONF"] == "/etc/slurm.conf"
    assert told["SBATCH_ACCOUNT"] == "me"
    assert __import__("os").environ["SLURM_CPUS_PER_TASK"] == "64"


def test_what_slurm_says_of_its_jobs(jobs: list[RunJob], slurm: Path, tmp_path: Path) -> None:
    nodes = Nodes(Slurm(), 1)
    ids = nodes.submit(jobs, Shape(1, 1, 0, 1), tmp_path / "submitit")
    assert nodes.alive([*ids, "99_0"], tmp_path) == set(ids)
    wait_for(lambda: "1_0 RUNNING" in subprocess.check_output(["squeue"], text=True))
    nodes.unqueue(ids)
    assert nodes.alive(ids, tmp_path) == {"1_0"}
    assert (nodes.state("1_1"), nodes.state("99_0")) == ("CANCELLED", "")
    (slurm / "down").touch()
    assert nodes.alive(ids, tmp_path) == set(ids), "jobs were given up since squeue did not answer"
    (slurm / "down").unlink()
    nodes.kill({"1_0": 3, "99_0": None})
    assert nodes.alive(ids, tmp_path) == set()


def test_accounting_tells_what_squeue_has_forgotten(slurm: Path, tmp_path: Path) -> None:
    sacct = tmp_path / "slurm" / "bin" / "sacct"
    sacct.write_text("#!/bin/sh\necho 'CANCELLED by 1000'\n")
    assert Nodes(Slurm(), 1).state("5_1") == "CANCELLED"


def test_a_refusal_is_in_slurms_words(jobs: list[RunJob], slurm: Path, tmp_path: Path) -> None:
    sbatch = tmp_path / "slurm" / "bin" / "sbatch"
    for text, words in (
        (
            "echo 'sbatch: error: invalid partition specified: cpux' >&2; exit 1",
            "invalid partition specified",
        ),
        ("echo hello", 'sense of sbatch output "hello'),
    ):
        sbatch.write_text(f"#!/bin/sh\n{text}\n")
        with pytest.raises(Refused, match=words):
            Nodes(Slurm(), 1).submit(jobs, CPU, tmp_path / "submitit")


def test_no_slurm_on_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        UserError, match=r"Slurm is not on this machine; found 'no sbatch, .*--slurm-cluster local"
    ):
        cluster(Slurm(), 1)
    assert isinstance(cluster(Slurm(slurm_cluster="local"), 1), Here)


def test_no_submitit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(UserError, match=r"submitit cannot be imported.*pip install 'hugbench\[slurm\]'"):
        cluster(Slurm(slurm_cluster="local"), 1)


def test_room_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hugbench.execution.executors.slurm_here.available_cpus", lambda: 8)
    rooms = [Here(Slurm(slurm_cluster="local"), threads).workers for threads in (1, 3, 16)]
    assert rooms == [8, 2, 1]
    assert Here(Slurm(slurm_cluster="local", workers=5), 16).workers == 5


def test_gpus_of_this_machine_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    here = Here(Slurm(slurm_cluster="local"), 1)
    assert [here._gpus(count) for count in (0, 1, 1, 2, 2)] == [[], [0], [1], [2, 0], [1, 2]]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    here = Here(Slurm(slurm_cluster="local"), 1)
    assert [here._gpus(1) for _ in range(3)] == [[4], [6], [4]]


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
