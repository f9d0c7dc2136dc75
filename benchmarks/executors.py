"""What an executor costs and gains: overhead of a run, throughput of workers, memory of the data.

    OMP_NUM_THREADS=1 python benchmarks/executors.py [overhead] [throughput] [large] [memory]

- overhead: milliseconds per empty run, one that is finished, whose files are checked and found whole.
  Between the first and the last, so that the start of workers is not in it; that is told apart.
- throughput: runs per second of small nets on digits with 1, 2 and 3 workers, while all of them are busy.
- large: images per second of a ResNet-18 on 32x32, a worker of one thread for each processor against one
  process of as many threads.
- memory: what a driver and 8 workers hold of a data set of 141 MiB, over what one process holds.

Ratios are taken within a round, in turns; medians and ranges over rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hugbench.data.cache import FOLDER, unnamed
from hugbench.data.machine import available_cpus
from hugbench.data.sources import load
from hugbench.execution.control import Control
from hugbench.execution.events import Event, RunDone
from hugbench.execution.place import Place
from hugbench.execution.schedule import Work
from hugbench.execution.where import Local, Ray, Serial, Where
from hugbench.registry import load_target
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import make_plan
from hugbench.suite.schema import DatasetSpec

EXECUTORS: dict[str, Where] = {"serial": Serial(), "local": Local(workers=2)}
"""What `overhead` measures by name; Ray where it is installed."""

if find_spec("ray"):
    EXECUTORS["ray"] = Ray(workers=2)

RUNS, EMPTY = 16, 200
"""Of `throughput`, and of `overhead`."""

SMALL = "digits, max_train: 320, max_test: 100"

SUITE = """\
criteria: [cross_entropy]
baseline: cross_entropy
dataset: {{name: {dataset}}}
model: {{backbone: {backbone}, stem: cifar, embedding_dim: 16}}
recipe: {{epochs: {epochs}, batch_size: 64, lr: 0.05}}
seeds: [{seeds}]
evaluations: [accuracy]
"""


def work(folder: Path, seeds: int, data: Path, **changes: object) -> Work:
    """The runs of so many seeds."""
    values = {"dataset": "digits", "backbone": "test_resnet", "epochs": 1, **changes}
    folder.mkdir(exist_ok=True)
    suite = folder / "suite.yaml"
    suite.write_text(SUITE.format(seeds=", ".join(map(str, range(seeds))), **values))
    plan = make_plan(load_suite(suite))
    return Work(plan.distinct(), plan.evaluations, Place(data, folder / "results", torch.device("cpu")))


def times(where: Where, runs: Work) -> list[float]:
    """When each of the runs is done by an executor."""
    done: list[float] = []

    def observe(event: Event) -> None:
        if isinstance(event, RunDone):
            done.append(time.perf_counter())

    tally = load_target(where.target)(where, runs, Control(), observe)
    assert len(tally.done) == len(done) == len(runs.runs), tally
    return done


def overhead(folder: Path, repeats: int, names: list[str]) -> None:
    runs = work(folder, EMPTY, folder / "data", dataset="digits, max_train: 100, max_test: 100")
    times(EXECUTORS["serial"], runs)
    costs: dict[str, list[float]] = {name: [] for name in names}
    starts: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            begun, done = time.perf_counter(), times(EXECUTORS[name], runs)
            costs[name].append(1000 * (done[-1] - done[0]) / (EMPTY - 1))
            starts[name].append(done[0] - begun)
    print(f"{'executor':10s} {'ms per empty run':>24s}   until the first is done, s")
    for name in names:
        print(f"{name:10s} {spread(costs[name]):>24s}   {spread(starts[name])}")


def throughput(folder: Path, repeats: int, workers: list[int]) -> None:
    """Small nets, one thread each."""
    rates: dict[int, list[float]] = {count: [] for count in workers}
    for number in range(repeats):
        for count in workers[number % len(workers) :] + workers[: number % len(workers)]:
            runs = work(folder / f"{number}-{count}", RUNS, folder / "data", dataset=SMALL, epochs=5)
            rates[count].append(rate(Local(workers=count) if count > 1 else Serial(), runs, count))
    print(f"{'workers':8s} {'runs/s':>7s}   over one")
    for count in workers:
        ratios = [found / one for found, one in zip(rates[count], rates[1], strict=True)]
        print(f"{count:<8d} {statistics.median(rates[count]):7.2f}   {spread(ratios)}")


def rate(where: Where, runs: Work, workers: int) -> float:
    """Runs per second between the first and the last that is done while all workers are at work."""
    done = times(where, runs)
    busy = done[workers - 1 : len(done) - workers + 1]
    return (len(busy) - 1) / (busy[-1] - busy[0])


def large(folder: Path, repeats: int, cpus: int) -> None:
    """A ResNet-18 on 32x32: a worker of one thread for each processor, against one process of all threads."""
    ratios, alone = [], []
    for number in range(repeats):
        one = images_per_second(folder / f"{number}-one", 1, threads=cpus)
        many = images_per_second(folder / f"{number}-many", cpus, threads=1)
        ratios.append(many / one)
        alone.append(one)
    print(f"resnet18, 1 x {cpus} threads: {statistics.median(alone):.0f} images/s")
    print(f"resnet18, {cpus} x 1 threads over 1 x {cpus}: {spread(ratios)}")


def images_per_second(folder: Path, workers: int, threads: int) -> float:
    """Of all workers together, each at one run of as many epochs."""
    dataset = "digits, image_size: 32, max_train: 192, max_test: 100"
    text = SUITE.format(
        dataset=dataset, backbone="resnet18", epochs=4, seeds=", ".join(map(str, range(workers)))
    )
    hugbench(folder, text, workers, OMP_NUM_THREADS=str(threads)).wait()
    logs = [
        json.loads(line) for log in folder.rglob("train.jsonl") for line in log.read_text().splitlines()[1:]
    ]
    return workers * statistics.fmean(row["images_per_second"] for row in logs)


def hugbench(folder: Path, suite: str, workers: int, **extra: str) -> subprocess.Popen[bytes]:
    """The command line with a suite, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.yaml").write_text(suite)
    command = ["run", "suite.yaml", "--device", "cpu", "--executor", "local", "--workers", str(workers)]
    return subprocess.Popen(
        [sys.executable, "-m", "hugbench", *command],
        cwd=folder,
        env={**os.environ, "HUGBENCH_DATA": str(folder.parent / "data"), **extra},
        stdout=subprocess.DEVNULL,
    )


HOLDER = """\
import sys
from pathlib import Path
from hugbench.data import cache
from hugbench.data.sources import load
from hugbench.suite.schema import DatasetSpec
root, *unnamed = sys.argv[1:]
cache.inherit({Path(path): int(file) for path, file in zip(unnamed[::2], unnamed[1::2])})
for name in ("little", "big"):
    data = load(DatasetSpec(name=name), Path(root), notify=sys.exit)
    print(name, flush=True)
    input()
"""


def memory(folder: Path, workers: int) -> None:
    """The data in one process and in that one and many; kept, and where nothing can be written."""
    size = make_images(folder / "big", 3000)
    make_images(folder / "little", 128)
    print(f"{size / 2**20:.0f} MiB of images: what is held of them, MiB")
    for where in ("kept in the data folder", "nowhere to be kept"):
        cache = folder / FOLDER
        if cache.exists():
            shutil.rmtree(cache)
            cache.touch()
        alone, together = held(folder, 0), held(folder, workers)
        words = f"1: {alone / 2**20:.0f}, 1 + {workers}: {together / 2**20:.0f}"
        print(f"{where}: {words}; ratio {together / alone:.2f}")


def held(folder: Path, workers: int) -> int:
    """Bytes of the large data set in this process, which loads it first, and in so many workers.

    What is mapped of the file that holds it, shared pages once, and what is allocated while it is loaded.
    """
    load(DatasetSpec(name="little"), folder, notify=lambda text: None)
    before = allocated(os.getpid())
    data = load(DatasetSpec(name="big"), folder, notify=lambda text: None)
    grown = allocated(os.getpid()) - before
    files = unnamed()
    shared = [str(word) for pair in files.items() for word in pair]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder), *shared],
            pass_fds=list(files.values()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(workers)
    ]
    for process in processes:
        assert said(process) == "little"
        grown -= allocated(process.pid)
        answer(process)
    for process in processes:
        assert said(process) == "big"
        grown += allocated(process.pid)
    total = grown + sum(mapped(pid) for pid in (os.getpid(), *(process.pid for process in processes)))
    for process in processes:
        answer(process)
        assert process.wait() == 0
    assert len(data.train) > 0
    return total


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def answer(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def allocated(pid: int) -> int:
    """Bytes of a process that are in no file."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


def mapped(pid: int) -> int:
    """Bytes, in proportion, that a process has mapped of the large data set or of a file without a name."""
    total, here = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            here = line.endswith("big.safetensors") or (line.endswith("(deleted)") and "/#" in line)
        elif here and line.startswith("Pss:"):
            total += 1024 * int(line.split()[1])
    return total


def make_images(folder: Path, count: int) -> int:
    """Noise of 128x128 pixels in four classes, an eighth of it to test on; its bytes as uint8."""
    draw = np.random.default_rng(0)
    for number in range(count):
        part = folder / ("test" if number % 8 == 0 else "train") / f"class{number // 8 % 4}"
        part.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 256, (128, 128, 3), np.uint8)
        Image.fromarray(pixels).save(part / f"{number}.png", compress_level=0)
    return count * 128 * 128 * 3


def spread(found: list[float]) -> str:
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="overhead, throughput, large, memory; all by default")
    parser.add_argument("--executor", nargs="+", choices=EXECUTORS, default=list(EXECUTORS))
    parser.add_argument(
        "--workers", nargs="+", type=int, default=[1, 2, 3], help="for throughput; 1 is needed"
    )
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    parts: dict[str, Callable[[Path], None]] = {
        "overhead": lambda folder: overhead(folder, options.repeats, options.executor),
        "throughput": lambda folder: throughput(folder, options.repeats, options.workers),
        "large": lambda folder: large(folder, options.repeats, available_cpus()),
        "memory": lambda folder: memory(folder, 8),
    }
    for part in options.parts or parts:
        with tempfile.TemporaryDirectory() as folder:
            print(f"-- {part}")
            parts[part](Path(folder))


if __name__ == "__main__":
    main()
