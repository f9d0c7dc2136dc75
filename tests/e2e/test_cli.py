from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

DEVICE = ("--device", __import__("os").environ.get("HUGBENCH_TEST_DEVICE", "cpu"))


def test_a_suite_end_to_end(hugbench, tiny: Path, tmp_path: Path) -> None:
    first = hugbench("run", tiny, *DEVICE)
    assert first.returncode == 0, first.stderr
    for word in ("cross_entropy", "hug", "accuracy", "results", "seeds"):
        assert word in first.stdout
    assert "\r" not in first.stdout
    assert max(map(len, first.stdout.splitlines())) <= 100
    assert "\x1b" not in first.stdout

    runs = sorted((tmp_path / "results" / "runs").iterdir())
    assert len(runs) == 4
    for run in runs:
        assert {p.name for p in run.iterdir()} >= {
            "run.yaml",
            "environment.json",
            "train.jsonl",
            "model.safetensors",
            "status.json",
            "records",
            "predictions",
        }
        assert not (run / "resume.pt").exists()
        assert len((run / "train.jsonl").read_text().splitlines()) == 3

    records = hugbench("records", tiny, "--json")
    rows = json.loads(records.stdout)
    clean = [row for row in rows if row["metric"] == "accuracy" and row["subset"] == "all"]
    assert {(row["criterion"], row["seed"]) for row in clean} == {
        ("cross_entropy", 0),
        ("cross_entropy", 1),
        ("hug", 0),
        ("hug", 1),
    }
    assert all(row["n"] == 100 and 0 <= row["value"] <= 1 for row in clean)
    table = list(csv.DictReader(io.StringIO(hugbench("records", tiny, "--csv").stdout)))
    assert [float(row["value"]) for row in table if row["value"]] == [
        r["value"] for r in rows if r["value"] is not None
    ]

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*") if path.is_file()}
    again = hugbench("run", tiny, "--json", *DEVICE)
    assert again.returncode == 0
    assert json.loads(again.stdout)["failed"] == {}
    assert {path: path.stat().st_mtime_ns for path in before} == before

    report = json.loads(hugbench("plan", tiny, "--json").stdout)
    assert report["counts"] == {"done": 4}
    assert report["seconds_left"] == 0
    assert "4 done" in hugbench("status", tiny).stdout


def test_collapse_in_the_plane_ends_with_a_picture(hugbench, tiny: Path, tmp_path: Path) -> None:
    text = re.sub(r"evaluations: .*\n", "", tiny.read_text().replace("embedding_dim: 16", "embedding_dim: 2"))
    tiny.write_text(f"{text}evaluations: [collapse]\n")
    options = [tiny, "--seeds", "1", "--set", "recipe.epochs=1", *DEVICE]
    done = hugbench("run", *options)
    assert done.returncode == 0, done.stderr
    for words in ("collapse · training images", "collapse · test images", "inter / min"):
        assert words in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if "Picture" not in line) <= 100
    folder = tmp_path / "results" / "suites" / "tiny"
    pictures = sorted(folder.iterdir())
    assert [path.name for path in pictures] == [
        f"collapse-digits-test_resnet-standard.{form}" for form in ("png", "svg")
    ]
    for path in pictures:
        assert f"Picture: {path.relative_to(tmp_path)}" in done.stdout
    assert ">hug<" in pictures[1].read_text()

    before = {path: path.stat().st_mtime_ns for path in pictures}
    again = json.loads(hugbench("run", *options, "--json").stdout)
    assert sorted(again["pictures"]) == [str(path.relative_to(tmp_path)) for path in pictures]
    assert {path: path.stat().st_mtime_ns for path in pictures} == before
    rows = json.loads(hugbench("records", tiny, "--seeds", "1", "--set", "recipe.epochs=1", "--json").stdout)
    agreement = [row for row in rows if row["metric"] == "nearest_class_centre_agreement"]
    assert {(row["criterion"], row["subset"], row["n"]) for row in agreement} == {
        (criterion, subset, n)
        for criterion in ("cross_entropy", "hug")
        for subset, n in (("train", 320), ("test", 100))
    }

    shutil.rmtree(folder.parent)
    folder.parent.write_text("in the way")
    done = hugbench("run", *options)
    assert done.returncode == 0, done.stderr
    assert "the pictures could not be written" in done.stdout
    assert "collapse · test images" in done.stdout


def test_smoke_lives_in_a_folder_of_its_own(hugbench, tiny: Path, tmp_path: Path) -> None:
    done = hugbench("run", tiny, "--smoke", *DEVICE)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "results").iterdir()} == {"smoke"}
    assert len(list((tmp_path / "results" / "smoke" / "runs").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nothing.yaml"], "no such suite"),
        (["run", "tiny.yaml", "--device", "tpu"], "--device"),
        (["run", "tiny.yaml", "--device", "cuda:99"], "this device is not there"),
        (["run", "tiny.yaml", "--seeds", "a"], "--seeds"),
        (["run", "tiny.yaml", "--seeds", "1,1"], "the same seed twice"),
        (["run", "tiny.yaml", "--set", "recipe.lr"], "--set"),
        (["run", "tiny.yaml", "--set", "recipe.lr=.nan"], "finite"),
        (["run", "tiny.yaml", "--set", "recipe.batch_size=400"], "batch is larger than the data"),
        (
            ["run", "tiny.yaml", "--set", "recipe.drop_last=false", "--set", "recipe.batch_size=319"],
            "would hold a single image",
        ),
        (["run", "tiny.yaml", "--set", "dataset=cifar1000"], "did you mean 'cifar100'"),
        (["run", "tiny.yaml", "--set", "dataset=cifar100"], "cifar100"),
        (["run", "tiny.yaml", "--set", "model.backbone=resnet1"], "unknown backbone"),
        (["run", "tiny.yaml", "--criterion", "hug"], "two criteria of one name"),
        (["run", "tiny.yaml", "--results", "/proc/nowhere"], "--results"),
        (["run", "tiny.yaml", "--results", "tiny.yaml"], "--results"),
        (["plan", "."], "is a directory"),
        (["show", "hugg"], "did you mean 'hug'"),
        (["list", "criterion"], "did you mean 'criteria'"),
        (["runn", "tiny.yaml"], "No such command"),
    ],
)
def test_bad_input_is_one_line_exit_code_2_and_nothing_written(
    hugbench, tiny, tmp_path, arguments, words
) -> None:
    done = hugbench(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]
    if arguments[0] != "runn":
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_loss_that_is_not_finite_fails_its_run_and_no_other(hugbench, tiny: Path) -> None:
    done = hugbench("run", tiny, "--seeds", "0", "--set", "criteria.hug.recipe.lr=1e30", *DEVICE)
    assert done.returncode == 3
    assert "not finite at step" in done.stdout
    report = json.loads(
        hugbench("status", tiny, "--seeds", "0", "--set", "criteria.hug.recipe.lr=1e30", "--json").stdout
    )
    assert report["counts"] == {"done": 1, "failed": 1}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["plan", "tiny.yaml"],
        ["status", "tiny.yaml"],
        ["validate", "tiny.yaml"],
        ["list"],
        ["list", "backbones"],
        ["records", "tiny.yaml"],
        ["cards", "tiny.yaml"],
        ["show", "hug"],
        ["show", "digits"],
        ["schema"],
    ],
)
def test_what_only_reads_answers_without_torch(tiny: Path, tmp_path: Path, arguments: list[str]) -> None:
    import subprocess

    from tests.e2e.conftest import environment

    code = (
        "import sys; sys.argv[0] = 'hugbench'\n"
        "from hugbench.cli import main\n"
        "try: main()\n"
        "finally: heavy = {'torch', 'timm', 'avalanche', 'torchattacks', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert "AssertionError" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_list_show_schema_and_doctor(hugbench) -> None:
    names = {entry["name"] for entry in json.loads(hugbench("list", "--json").stdout)}
    assert {"hug", "cross_entropy", "digits", "cifar100", "accuracy", "standard", "quickstart"} <= names
    shown = hugbench("show", "hug").stdout
    assert "Equation:" in shown
    assert "alpha" in shown
    schema = json.loads(hugbench("schema").stdout)
    assert set(schema["properties"]) >= {"criteria", "dataset", "model", "recipe", "seeds"}
    doctor = json.loads(hugbench("doctor", "--json").stdout)
    assert doctor["packages"]["torch"]
    assert doctor["datasets"]["digits"]
