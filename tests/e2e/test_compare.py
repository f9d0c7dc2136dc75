"""`hugbench compare` through the real command line, on real runs."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest

DEVICE = ("--device", os.environ.get("HUGBENCH_TEST_DEVICE", "cpu"))

SUITE = """\
criteria: [cross_entropy, {hug: {uniformity: mhe}}]
baseline: cross_entropy
dataset: {name: digits, validation: 0.1, max_train: 400, max_test: 100}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 16}
recipe: {epochs: 3, batch_size: 32, lr: 0.05, schedule: one_cycle}
seeds: [0, 1, 2]
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite, its results, and a copy of them from which a run is gone."""
    import subprocess

    from tests.e2e.conftest import command, environment

    folder = tmp_path_factory.mktemp("compare")
    (folder / "small.yaml").write_text(SUITE)
    subprocess.run(
        command("run", "small.yaml", *DEVICE), cwd=folder, env=environment(), check=True, capture_output=True
    )
    shutil.copytree(folder / "results", folder / "after")
    shutil.rmtree(next(path for path in sorted((folder / "after" / "runs").iterdir()) if "hug" in path.name))
    return folder


@pytest.fixture
def hugbench_there(ran: Path):
    import subprocess

    from tests.e2e.conftest import command, environment

    def call(*arguments: str):
        return subprocess.run(
            command(*arguments), cwd=ran, env=environment(), capture_output=True, text=True, timeout=120
        )

    return call


def test_a_suite_is_compared(hugbench_there) -> None:
    done = hugbench_there("compare", "small.yaml", "--bootstrap", "200", "--ranks", "seeds")
    assert done.returncode == 0, done.stderr
    for words in (
        "cross_entropy",
        "hug",
        "baseline",
        "Holm",
        "100 test images; seeds 0, 1, 2",
        "average ranks",
    ):
        assert words in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "\x1b" not in done.stdout


def test_every_format_and_a_file(hugbench_there, ran: Path) -> None:
    found = json.loads(hugbench_there("compare", "small.yaml", "--json").stdout)
    hug = next(line for line in found["contrasts"] if line["criterion"] == "hug")
    assert hug["difference"]["seeds"] == [0, 1, 2]
    assert hug["bootstrap"]["images"] == 100
    assert set(hug["mcnemar"]) == {"0", "1", "2"}
    assert hug["verdict"] in ("better", "worse", "equal", "undecided")
    table = hugbench_there("compare", "small.yaml", "--format", "csv", "--all").stdout
    assert len({row["metric"] for row in csv.DictReader(io.StringIO(table))}) > 5
    for name, mark in (("table.md", "| --: |"), ("table.tex", r"\toprule"), ("table.txt", "─")):
        done = hugbench_there("compare", "small.yaml", "--out", name)
        assert done.returncode == 0, done.stderr
        assert mark in (ran / name).read_text()


def test_before_and_after(hugbench_there) -> None:
    for arguments in (("results", "after"), ("small.yaml", "--results", "results", "--results", "after")):
        done = hugbench_there("compare", *arguments)
        assert done.returncode == 0, done.stderr
        for words in ("before", "after", "identical", "before: results"):
            assert words in done.stdout


def test_two_runs(hugbench_there, ran: Path) -> None:
    runs = {path.name.partition("-")[0]: path for path in sorted((ran / "results" / "runs").iterdir())}
    same_seed = [
        next(
            p
            for p in sorted((ran / "results" / "runs").glob(f"{name}-*"))
            if "\nseed: 1\n" in (p / "run.yaml").read_text()
        )
        for name in runs
    ]
    done = hugbench_there("compare", *map(str, same_seed), "--baseline", "cross_entropy")
    assert done.returncode == 0, done.stderr
    assert "McNemar" in done.stdout
    assert "not testable" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "nosuch"], "no such suite"),
        (["compare", "."], "is no result"),
        (["compare", "small.yaml", "--results", "nowhere"], "no run is finished"),
        (["compare", "small.yaml", "--baseline", "hugg"], "did you mean 'hug'"),
        (["compare", "small.yaml", "--metric", "acuracy"], "did you mean 'accuracy'"),
        (["compare", "small.yaml", "--delta", "much"], "--delta"),
        (["compare", "small.yaml", "--delta", "-1"], "found '-1'"),
        (["compare", "small.yaml", "--delta", "acuracy=1"], "did you mean 'accuracy'"),
        (["compare", "small.yaml", "--format", "pdf"], "--format"),
        (["compare", "small.yaml", "--json", "--format", "md"], "two formats"),
        (["compare", "small.yaml", "--out", "small.yaml/x.md"], "cannot be written"),
        (["compare", "results", "after", "--baseline", "hug"], "--baseline"),
    ],
)
def test_bad_input_is_one_line(hugbench_there, arguments: list[str], words: str) -> None:
    done = hugbench_there(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_report_goes_into_a_folder_that_is_not_there_yet(hugbench_there, ran: Path) -> None:
    done = hugbench_there("report", "small.yaml", "--format", "md", "--out", "new/folder/")
    assert done.returncode == 0, done.stderr
    assert "Verdicts" in (ran / "new" / "folder" / "report.md").read_text()


def test_it_answers_without_torch(ran: Path) -> None:
    import subprocess
    import sys

    from tests.e2e.conftest import environment

    code = (
        "import sys; sys.argv[0] = 'hugbench'\n"
        "from hugbench.cli import main\n"
        "try: main()\n"
        "finally: heavy = {'torch', 'timm', 'avalanche', 'torchattacks', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "compare", "small.yaml", "--ranks", "seeds"],
        cwd=ran,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert "AssertionError" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
