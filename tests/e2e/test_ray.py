"""The real command line on a real local Ray of two workers, interrupted, then with a worker killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import command, environment
from tests.e2e.test_resume import everything

pytest.importorskip("ray")

CPU = ("--device", "cpu", "--set", "recipe.epochs=20")
ON_RAY = ("--executor", "ray", "--workers", "2", *CPU)


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder for temporary files whose path leaves room for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def begin(suite: Path, results: Path, temporary: Path) -> subprocess.Popen[str]:
    """`hugbench run` in a process group of its own, as a terminal starts it."""
    return subprocess.Popen(
        command("run", suite, "--results", results, *ON_RAY),
        env=environment(TMPDIR=str(temporary)),
        cwd=suite.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(found: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 200
    while not found():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def processes_of(temporary: Path) -> list[str]:
    """Command lines of the processes that were started with this folder for temporary files."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={temporary}".encode() in (path / "environ").read_bytes().split(b"\0"):
                found.append((path / "cmdline").read_text())
        except OSError:
            continue
    return found


def nothing_is_left(temporary: Path, results: Path) -> None:
    deadline = time.monotonic() + 30
    while left := processes_of(temporary):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert not list(temporary.glob("hugbench-*"))
    assert {path.name for path in results.iterdir()} == {"runs"}


@pytest.mark.slow
def test_interrupted_and_a_worker_killed(hugbench, tiny: Path, tmp_path: Path, short: Path) -> None:
    alone = hugbench("run", tiny, "--results", "alone", "--executor", "serial", *CPU)
    assert alone.returncode == 0, alone.stderr
    results = tmp_path / "results"

    process = begin(tiny, results, short)
    wait_for(lambda: list(results.glob("runs/*/resume.pt")), process)
    os.killpg(process.pid, signal.SIGINT)
    printed, errors = process.communicate(timeout=200)
    assert process.returncode == 130, errors
    assert errors.splitlines() == ["stopped early (interrupted): 4 runs are left; the same command goes on"]
    assert list(results.glob("runs/*/resume.pt"))
    nothing_is_left(short, results)

    process = begin(tiny, results, short)
    wait_for(lambda: list(results.glob("runs/*/.holder")), process)
    holder = next(results.glob("runs/*/.holder"))
    before = (holder.parent / "train.jsonl").read_bytes() if (holder.parent / "train.jsonl").exists() else b""
    wait_for(lambda: (holder.parent / "train.jsonl").exists(), process)
    wait_for(lambda: (holder.parent / "train.jsonl").read_bytes() != before, process)
    os.kill(int(holder.read_text().split()[1]), signal.SIGKILL)
    printed, errors = process.communicate(timeout=200)
    assert (process.returncode, errors) == (0, "")
    assert printed.count("its worker was killed or crashed; the run goes on from its last checkpoint") == 1
    assert not {"WARNING", "INFO", "dashboard", "(raylet)"} & set(printed.replace(":", " ").split())
    assert everything(results) == everything(tmp_path / "alone")
    nothing_is_left(short, results)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--ray-address", "127.0.0.1:1"), "error: --ray-address: cannot be reached"),
        (("--ray-address", "nowhere"), "error: --ray-address: is no address"),
        (("--gpus-per-run", "1.5"), "error: --gpus-per-run: Ray gives a run a part of one GPU"),
        (("--gpus-per-run", "0"), "error: --gpus-per-run"),
        (("--workers", "0"), "error: --workers"),
        (("--partition", "gpu"), "error: --partition: is no option of --executor ray"),
    ],
)
def test_bad_options(hugbench, tiny: Path, tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    ended = hugbench("run", tiny, "--executor", "ray", "--device", "cpu", *options)
    assert ended.returncode == 2
    assert ended.stderr.startswith(told)
    assert len(ended.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("*.pt"))
