"""The real command line: a folder of corrupted images, and a suite that reads it or does without."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.test_cli import DEVICE

ASKED = "kinds: [fog, zoom_blur], severities: [2, 4], seed: 1"


def test_a_suite_finds_the_same_in_a_folder_as_by_itself(hugbench, tiny: Path, tmp_path: Path) -> None:
    options = ["--kinds", "fog,zoom_blur", "--severities", "2,4", "--seed", "1", *DEVICE]
    done = hugbench("corrupt", "digits", tmp_path / "data" / "digits-C", *options, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["written"] == ["fog", "zoom_blur"]
    assert "fog: 360 images at 2 severities" in done.stderr

    text = tiny.read_text()
    found = {}
    for name, more in {"own": "source: own", "read": "folder: digits-C"}.items():
        asked = f"[{{corruption: {{{ASKED}, {more}}}, evaluate_after: each}}]"
        tiny.write_text("".join(f"{line}\n" for line in text.splitlines()[:-1]) + f"evaluations: {asked}\n")
        done = hugbench("run", tiny, "--seeds", "0", "--data", tmp_path / "data", *DEVICE)
        assert done.returncode == 0, done.stderr
        assert "corruption error %" in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 100
        found[name] = json.loads(hugbench("records", tiny, "--seeds", "0", "--json").stdout)
    assert found["own"] == found["read"]
    of_hug = {row["metric"] for row in found["own"] if row["criterion"] == "hug" and row["reference"]}
    assert of_hug == {"mCE", "relative_mCE"}
    assert {row["epoch"] for row in found["own"] if row["metric"] == "mCE"} == {2, None}
    assert "images corrupted by hugbench" not in done.stdout
    assert "corrupted images from digits-C" in done.stdout


def test_bad_input_ends_with_2_and_a_line(hugbench, tiny: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (["corrupt", "digits", "out", "--kinds", "fogg"], "did you mean 'fog'"),
        (["corrupt", "digits", "out", "--severities", "one"], "--severities: not severities"),
        (["run", tiny, "--set", "evaluations=[{corruption: {folder: nowhere}}]"], "nowhere: no such folder"),
    ):
        done = hugbench(*arguments)
        assert done.returncode == 2
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "out").exists()
    assert not (tmp_path / "results").exists()
