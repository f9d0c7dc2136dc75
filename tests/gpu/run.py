"""What `tox -e gpu` does on the device under test: the tests, then each regression suite against its reference.

With HUGBENCH_TEST_SHORT=1, as `.ci/run` has it on the CPU that has just passed the tests: two seeds of the first
suite, and no tests. The first argument is the folder of the results, in which nothing should lie, since finished
runs are not repeated; the others go to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hugbench.api import data_folder
from hugbench.data.catalogue import find

SUITES = Path(__file__).resolve().parents[2] / "suites"


def python(*arguments: str) -> int:
    """The exit code of a module of Python."""
    return subprocess.run([sys.executable, "-m", *arguments]).returncode


def held(suite: str, folder: Path, data: Path, *options: str) -> int:
    """Run a suite and check it: the exit code of the first that fails."""
    device = os.environ.get("HUGBENCH_TEST_DEVICE", "cuda")
    of = (str(SUITES / f"{suite}.yaml"), "--results", str(folder / "results"), "--data", str(data), *options)
    return python("hugbench", "run", *of, "--device", device) or python(
        "hugbench", "check", *of, "--junit", str(folder / f"{suite}.xml")
    )


def main(folder: Path, options: Sequence[str]) -> int:
    """All of it, whatever fails; digits beside an empty data folder, so that no other images take part."""
    if os.environ.get("HUGBENCH_TEST_SHORT"):
        return held("regression", folder, folder / "data", "--seeds", "0,1")
    codes = [python("pytest", *options), held("regression", folder, folder / "data")]
    if find("fashion_mnist", data_folder(None)) is None:
        print(f"regression_fashion_mnist is left out: no Fashion-MNIST in {data_folder(None)}")
    else:
        codes.append(held("regression_fashion_mnist", folder, data_folder(None)))
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
