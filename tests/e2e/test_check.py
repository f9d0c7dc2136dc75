"""`hugbench freeze` and `hugbench check` through the real command line, on real runs."""

from __future__ import annotations

import json
import os
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.e2e.conftest import Result, command, environment

DEVICE = ("--device", os.environ.get("HUGBENCH_TEST_DEVICE", "cpu"))

SUITE = """\
criteria: [cross_entropy, {hug: {uniformity: mhe}}]
baseline: cross_entropy
dataset: {name: digits, validation: 0.1, max_train: 400}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 16}
recipe: {epochs: 3, batch_size: 32, lr: 0.05, schedule: one_cycle}
seeds: [0, 1, 2]
"""

REFERENCE = Path("baselines") / "reference" / "small.jsonl"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite, its results and its reference."""
    folder = tmp_path_factory.mktemp("check")
    (folder / "small.yaml").write_text(SUITE)
    for arguments in (("run", "small.yaml", *DEVICE), ("freeze", "small.yaml")):
        subprocess.run(command(*arguments), cwd=folder, env=environment(), check=True, capture_output=True)
    return folder


def call(folder: Path, *arguments: str) -> Result:
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True, timeout=120
    )


def tampered(ran: Path, change: float) -> str:
    """A copy of the reference in which every accuracy of cross-entropy is another one."""
    head, *lines = (ran / REFERENCE).read_text().splitlines()
    runs = json.loads(head)["runs"]
    rows = [json.loads(line) for line in lines]
    for row in rows:
        if runs[row["run"]]["criterion"] == "cross_entropy" and row["metric"] == "accuracy":
            row["value"] += change
    file = ran / "tampered.jsonl"
    file.write_text("\n".join([head, *map(json.dumps, rows)]) + "\n")
    return file.name


def test_what_was_frozen_passes(ran: Path) -> None:
    done = call(ran, "check", "small.yaml", "--junit", "junit.xml")
    assert done.returncode == 0, done.stdout + done.stderr
    words = " ".join(done.stdout.split())
    assert "small: nothing moved" in words
    assert "every number is the same to the last bit" in words
    (suite,) = ET.parse(ran / "junit.xml").getroot()
    assert int(suite.get("tests", "0")) > 10
    assert suite.get("failures") == suite.get("errors") == "0"


def test_a_planted_loss_is_caught(ran: Path) -> None:
    done = call(ran, "check", "small.yaml", "--reference", tampered(ran, 0.3), "--junit", "moved.xml")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "worse" in done.stdout
    (suite,) = ET.parse(ran / "moved.xml").getroot()
    assert suite.get("failures") == "1"
    (failure,) = suite.findall("testcase/failure")
    assert failure.get("type") == "worse"


def test_a_tenth_of_a_point_is_not(ran: Path) -> None:
    done = call(ran, "check", "small.yaml", "--reference", tampered(ran, 0.001), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    (accuracy,) = (
        change
        for change in found["changes"]
        if change["criterion"] == "cross_entropy" and change["metric"] == "accuracy"
    )
    assert accuracy["verdict"] == "within"
    assert accuracy["difference"] == pytest.approx(-0.001)


def test_every_number_with_its_tolerance(ran: Path) -> None:
    done = call(ran, "check", "small.yaml", "--all", "--seeds", "0,1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tolerance" in done.stdout
    assert "identical" in done.stdout


def test_the_header_tells_where_it_comes_from(ran: Path) -> None:
    header = json.loads((ran / REFERENCE).read_text().splitlines()[0])
    assert header["seeds"] == [0, 1, 2]
    assert header["environments"][0]["packages"]["torch"]
    assert header["datasets"]["digits"]["train_used"] == 400
    assert any("digits at reduced size: 400 of 1,437 training images" in text for text in header["remarks"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["freeze", "small.yaml"], "there is a reference already"),
        (["freeze", "small.yaml", "--results", "nowhere", "--out", "x.jsonl"], "not finished"),
        (["freeze", "small.yaml", "--out", "small.yaml/x.jsonl"], "cannot be written"),
        (["check", "small.yaml", "--reference", "none.jsonl"], "there is no reference"),
        (["check", "small.yaml", "--reference", "small.yaml"], "cannot be read"),
        (["check", "small.yaml", "--junit", "small.yaml/x.xml"], "cannot be written"),
        (["check", "nosuch"], "no such suite"),
        (["published", "nosuch"], "no published numbers"),
    ],
)
def test_bad_input_is_one_line(ran: Path, arguments: list[str], words: str) -> None:
    done = call(ran, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_what_cannot_be_checked_is_said(ran: Path) -> None:
    done = call(ran, "check", "small.yaml", "--criterion", "normface")
    assert done.returncode == 2
    assert "3 of 9 runs are not finished" in done.stdout
    assert "nothing moved" in done.stdout


@pytest.mark.parametrize("arguments", [["check", "small.yaml"], ["published"]])
def test_they_answer_without_torch(ran: Path, arguments: list[str]) -> None:
    import sys

    code = (
        "import sys; sys.argv[0] = 'hugbench'\n"
        "from hugbench.cli import main\n"
        "try: main()\n"
        "finally: heavy = {'torch', 'timm', 'avalanche', 'torchattacks', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ran, env=environment(), capture_output=True, text=True
    )
    assert "AssertionError" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


def test_numbers_from_papers_stand_beside_a_comparison(ran: Path) -> None:
    done = call(ran, "compare", "small.yaml", "--published")
    assert done.returncode == 0, done.stderr
    assert "no number from a paper is of the same data" in " ".join(done.stdout.split())
