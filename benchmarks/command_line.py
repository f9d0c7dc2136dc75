"""How fast the command line answers: help, a plan of 10,000 runs, a finished suite run again.

    python benchmarks/command_line.py [--repeats 7]

Prints medians over interleaved repeats, each beside `python -c pass` of the same round.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SUITE = """\
criteria: [cross_entropy, hug]
baseline: cross_entropy
dataset: {{name: digits, max_train: 256, max_test: 100, validation: 0.1}}
model: {{backbone: test_resnet, stem: cifar, embedding_dim: 16}}
recipe: {{epochs: 1, batch_size: 64, lr: {lr}}}
seeds: [{seeds}]
"""


def seconds(command: list[str], folder: Path) -> float:
    begun = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates = ", ".join(f"{0.001 * i:g}" for i in range(1, 501))
        (folder / "small.yaml").write_text(SUITE.format(lr=0.05, seeds="0, 1, 2"))
        (folder / "large.yaml").write_text(
            SUITE.format(lr=f"[{rates}]", seeds=", ".join(map(str, range(10))))
        )
        hugbench = [sys.executable, "-m", "hugbench"]
        seconds([*hugbench, "run", "small.yaml", "--device", "cpu"], folder)
        cases = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "hugbench --help": [*hugbench, "--help"],
            "hugbench plan (10,000 runs)": [*hugbench, "plan", "large.yaml"],
            "hugbench run (finished, 6 runs)": [*hugbench, "run", "small.yaml"],
        }
        times: dict[str, list[float]] = {case: [] for case in cases}
        for _ in range(repeats):
            for case, command in cases.items():
                times[case].append(seconds(command, folder))
        bare = statistics.median(times["python -c pass"])
        for case, found in times.items():
            median = statistics.median(found)
            print(f"{case:34s} {median:7.3f} s   {median / bare:7.1f} x python -c pass")


if __name__ == "__main__":
    main()
