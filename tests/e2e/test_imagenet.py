"""The suite of ImageNet on a folder that looks like it: 1,000 classes, tiny photographs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT
from tests.unit.data.make import write_photographs

CLASSES = 1000
SMALL = (
    "model.backbone=test_resnet",
    "dataset.image_size=24",
    "dataset.shorter_side=28",
    "dataset.validation=0.34",  # one of three images
    "dataset.survey=500",
)


@pytest.mark.slow
def test_a_smoke_run_of_the_suite(hugbench, tmp_path: Path) -> None:
    names = [f"n{number:08}" for number in range(CLASSES)]
    write_photographs(tmp_path / "data" / "imagenet", names, train=3, test=1)
    (tmp_path / "data" / "imagenet" / "test").mkdir()
    (tmp_path / "data" / "imagenet" / "test" / "ILSVRC2012_test_00000001.JPEG").touch()
    arguments = [ROOT / "suites" / "standard_imagenet.yaml", "--smoke", "--data", "data"]
    for setting in SMALL:
        arguments += ["--set", setting]
    ran = hugbench("run", *arguments, "--device", "cpu")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "inter / min" in ran.stdout
    found = json.loads(hugbench("records", *arguments, "--json").stdout)
    assert {row["criterion"] for row in found} == {"cross_entropy", "hug", "hug_paper"}
    assert len({row["run_id"] for row in found}) == 3
    collapse = [row for row in found if row["evaluation"] == "collapse"]
    assert {row["n"] for row in collapse if row["subset"] == "train"} == {2 * CLASSES}
    assert {row["n"] for row in collapse if row["subset"] == "test"} == {CLASSES}
    ratios = [row["value"] for row in collapse if row["metric"] == "inter_energy_ratio"]
    assert len(ratios) == 3 * 3
    assert min(ratios) >= 1 - 1e-9
    assert {row["evaluation"].partition("(")[0] for row in found} == {"accuracy", "calibration", "collapse"}
    assert any(row["subset"] == "class:999" for row in found)
    shutil.rmtree(tmp_path / "data" / "imagenet" / "train")  # all is done: nothing is looked at again
    assert hugbench("run", *arguments, "--device", "cpu").returncode == 0
