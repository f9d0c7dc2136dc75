"""How long plan, status and resume of a suite take when 10,000 of its runs are finished, and their memory.

    python benchmarks/many_runs.py [--runs 1000 10000] [--repeats 3] [--epochs 20] [--images 360]

Builds a synthetic results folder for each number of runs (status, log, records and predictions with
checksums), then prints the median of each command over interleaved repeats: wall and CPU seconds, and the
peak of the resident set. `run (1 left)` trains the one run that is missing; it is taken away again each time.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import yaml

from hugbench import api
from hugbench.results.status import Status
from hugbench.results.store import RunFolder
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import Plan, PlannedRun

CRITERIA = 100
SUITE = """\
criteria: [cross_entropy, {criteria}]
baseline: cross_entropy
dataset: {{name: digits, max_train: 256, max_test: 100, validation: 0.1}}
model: {{backbone: test_resnet, stem: cifar, embedding_dim: 16}}
recipe: {{epochs: {epochs}, batch_size: 64, lr: 0.1}}
seeds: [{seeds}]
"""


def build(folder: Path, runs: int, epochs: int, images: int) -> tuple[Path, Plan]:
    """A suite and a results folder in which all its runs are finished; the suite's file and its plan."""
    names = [f"{{name: hug_{i}, hug: {{alpha: {0.1 + 0.01 * i:.2f}}}}}" for i in range(1, CRITERIA)]
    seeds = ", ".join(map(str, range(runs // CRITERIA)))
    suite = folder / "synthetic.yaml"
    suite.write_text(SUITE.format(criteria=", ".join(names), seeds=seeds, epochs=epochs))
    plan, root = api.planned(load_suite(suite), None, folder / "results", False)
    draw = np.random.default_rng(0)
    for planned in plan.runs:
        finish(plan, planned, root, draw, epochs, images)
    return suite, plan


def finish(
    plan: Plan, planned: PlannedRun, root: Path, draw: np.random.Generator, epochs: int, images: int
) -> None:
    """The folder of a run as training and evaluation would have left it, but for the weights."""
    home, status = RunFolder(root, planned.run.run_id), Status("trained", seconds=0.1 * epochs)
    (key,) = plan.keys(planned)
    targets = draw.integers(10, size=images)
    right = draw.random(images) < 0.9
    predicted = np.where(right, targets, (targets + 1) % 10)
    table = pyarrow.table({"index": np.arange(images), "target": targets, "prediction": predicted})
    parquet = io.BytesIO()
    pyarrow.parquet.write_table(table, parquet)
    described = json.loads(json.dumps(planned.run.resolved()))
    files = {
        home.specification: yaml.dump(described, Dumper=yaml.CSafeDumper, sort_keys=False).encode(),
        home.records_file(key): "".join(json.dumps(row) + "\n" for row in rows(planned, right)).encode(),
        home.predictions_file(key): parquet.getvalue(),
    }
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (home.path / "environment.json").write_text(json.dumps({"sessions": [{"device_name": "a processor"}]}))
    home.log.write_text("".join(json.dumps(line) + "\n" for line in log(epochs)))
    home.sealed(status, *files)
    status.evaluations.append(key)
    home.status_file.write_bytes(status.written())


def log(epochs: int) -> Iterator[dict[str, float]]:
    for epoch in range(epochs):
        yield {"epoch": epoch, "loss": 1 / (1 + epoch), "accuracy": 0.9, "lr": 0.1, "seconds": 0.1}


def rows(planned: PlannedRun, right: np.ndarray) -> Iterator[dict[str, object]]:
    run = planned.run
    common = {
        "schema": 2,
        "run_id": run.run_id,
        "criterion": run.criterion.name,
        "dataset": run.dataset.name,
        "backbone": run.model.backbone,
        "protocol": run.protocol.label,
        "seed": run.seed,
        "evaluation": "accuracy",
    }
    place = {"condition": "clean", "severity": None, "experience": None, "epoch": None, "subset": "all"}
    for metric in ("accuracy", "top5_accuracy", "nearest_class_mean_accuracy"):
        value = {"value": float(right.mean()), "n": len(right), "reliability": None}
        yield {**common, "metric": metric, **place, **value}


COST = """
import json, resource, subprocess, sys, time
begun = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
wall, used = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""
"""A small process in between: a child's peak counts from the memory of the one that starts it."""


def cost(command: list[str], folder: Path) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and the peak of the resident set in MiB."""
    between = [sys.executable, "-S", "-c", COST, *command]
    code, *found = json.loads(subprocess.run(between, cwd=folder, check=True, capture_output=True).stdout)
    if code:
        raise SystemExit(f"{' '.join(command)} ended with exit code {code}")
    wall, cpu, memory = found
    return wall, cpu, memory


def measure(runs: int, epochs: int, images: int, repeats: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        suite, plan = build(folder, runs, epochs, images)
        last = RunFolder(folder / "results", plan.runs[-1].run.run_id).path
        hugbench, own = [sys.executable, "-m", "hugbench"], [str(suite), "--results", "results"]
        run = [*hugbench, "run", *own, "--device", "cpu", "--executor", "serial"]
        cases = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "plan": [*hugbench, "plan", *own],
            "status": [*hugbench, "status", *own],
            "status --json": [*hugbench, "status", *own, "--json"],
            "run (nothing left)": run,
            "run (1 left)": run,
            "compare": [*hugbench, "compare", *own],
        }
        found: dict[str, list[tuple[float, float, float]]] = {case: [] for case in cases}
        for _ in range(repeats):
            for case, command in cases.items():
                if case == "run (1 left)":
                    shutil.rmtree(last)
                found[case].append(cost(command, folder))
    print(f"{runs:,} runs of {epochs} epochs, {images} predictions each")
    print(f"{'':22s} {'wall s':>8s} {'CPU s':>8s} {'MiB':>8s}")
    for case, costs in found.items():
        wall, cpu, memory = (statistics.median(column) for column in zip(*costs, strict=True))
        print(f"{case:22s} {wall:8.2f} {cpu:8.2f} {memory:8.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 10000], help=f"multiples of {CRITERIA}")
    for name, default in (("repeats", 3), ("epochs", 20), ("images", 360)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    for runs in given.runs:
        measure(runs, given.epochs, given.images, given.repeats)


if __name__ == "__main__":
    main()
