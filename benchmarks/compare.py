"""How long `hugbench compare` takes on 1,000 runs with 100 numbers each, and what the parts of it take.

    python benchmarks/compare.py [--repeats 5] [--criteria 100] [--seeds 10] [--metrics 100] [--images 0]

Builds a synthetic results folder (records with checksums; with --images per-example predictions, too), then
prints the median of each command over interleaved repeats, beside `python -c pass` of the same round.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hugbench import api
from hugbench.results.store import RunFolder, Status
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import Run

SUITE = """\
criteria: [cross_entropy, {criteria}]
baseline: cross_entropy
dataset: {{name: digits, validation: 0.1}}
model: {{backbone: test_resnet, stem: cifar, embedding_dim: 16}}
recipe: {{epochs: 1, batch_size: 64, lr: 0.1}}
seeds: [{seeds}]
"""


def build(folder: Path, criteria: int, seeds: int, metrics: int, images: int) -> Path:
    """A suite and a results folder in which all its runs are finished; returns the suite."""
    draw = np.random.default_rng(0)
    names = [f"{{name: hug_{i}, hug: {{alpha: {0.1 + 0.01 * i:.2f}}}}}" for i in range(1, criteria)]
    suite = folder / "synthetic.yaml"
    suite.write_text(SUITE.format(criteria=", ".join(names), seeds=", ".join(map(str, range(seeds)))))
    plan, root = api.planned(load_suite(suite), None, folder / "results", False)
    targets = draw.integers(10, size=images)
    for planned in plan.runs:
        run = planned.run
        home, status = RunFolder(root, run.run_id), Status("trained")
        (key,) = plan.keys(planned)
        path = home.records_file(key)
        path.parent.mkdir(parents=True)
        right = draw.random(images) < 0.9
        first = float(right.mean()) if images else draw.normal(0.9, 0.01)
        values = [first, *draw.normal(0.9, 0.01, metrics - 1)]
        path.write_text(
            "".join(json.dumps(row(run, number, value)) + "\n" for number, value in enumerate(values))
        )
        home.sealed(status, path)
        if images:
            home.sealed(status, predictions(home.predictions_file(key), targets, right))
        status.evaluations.append(key)
        home.write_status(status)
    return suite


def row(run: Run, number: int, value: float) -> dict[str, object]:
    return {
        "schema": 2,
        "run_id": run.run_id,
        "criterion": run.criterion.name,
        "dataset": "digits",
        "backbone": "test_resnet",
        "protocol": "standard",
        "seed": run.seed,
        "evaluation": "accuracy",
        "metric": "accuracy" if number == 0 else f"metric_{number}_accuracy",
        "condition": "clean",
        "severity": None,
        "experience": None,
        "epoch": None,
        "subset": "all",
        "value": float(value),
        "n": 360,
        "reliability": None,
    }


def predictions(path: Path, targets: np.ndarray, right: np.ndarray) -> Path:
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir()
    predicted = np.where(right, targets, (targets + 1) % 10)
    columns = {"index": np.arange(len(targets)), "target": targets, "prediction": predicted}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def seconds(command: list[str], folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds; where other work keeps the machine busy the second tells more."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("repeats", 5), ("criteria", 100), ("seeds", 10), ("metrics", 100), ("images", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        suite = build(folder, given.criteria, given.seeds, given.metrics, given.images)
        compare = [sys.executable, "-m", "hugbench", "compare", str(suite)]
        cases = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "compare": compare,
            "compare --json": [*compare, "--json"],
            "compare --all --json": [*compare, "--all", "--json"],
            "compare --all --format csv": [*compare, "--all", "--format", "csv"],
        }
        times: dict[str, list[tuple[float, float]]] = {case: [] for case in cases}
        for _ in range(given.repeats):
            for case, command in cases.items():
                times[case].append(seconds(command, folder))
        print(
            f"{given.criteria * given.seeds} runs x {given.metrics} metrics, {given.images} predictions a run"
        )
        bare = statistics.median(cpu for _, cpu in times["python -c pass"])
        for case, found in times.items():
            wall, cpu = (statistics.median(column) for column in zip(*found, strict=True))
            print(f"{case:28s} {wall:6.2f} s, CPU {cpu:6.2f} s   {cpu / bare:6.1f} x python -c pass")


if __name__ == "__main__":
    main()
