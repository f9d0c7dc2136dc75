"""--max-runs, --time-limit and status --watch, as a user types them."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from hugbench.results.store import RunFolder
from tests.e2e.conftest import command, environment
from tests.e2e.test_cli import DEVICE
from tests.e2e.test_resume import everything


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max-runs", "0"], "--max-runs: not a number of runs; found 0"),
        (["--max-runs", "-1"], "--max-runs: not a number of runs; found -1"),
        (["--max-runs", "soon"], "--max-runs"),
        (["--time-limit", "0"], "--time-limit: no time; found '0'"),
        (["--time-limit", "-1"], "--time-limit: no time; found '-1'"),
        (["--time-limit", "soon"], "--time-limit: no time; found 'soon'"),
        (["--time-limit", "nan"], "--time-limit"),
        (["--time-limit", ""], "--time-limit"),
    ],
)
def test_limits_that_are_none_are_said_before_anything_starts(
    hugbench, tiny: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    found = hugbench("run", tiny, *arguments)
    assert found.returncode == 2
    assert words in found.stderr
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "results").exists()


ONE = ("--seeds", "0")


def test_in_parts_it_ends_as_in_one_go(hugbench, tiny: Path, tmp_path: Path) -> None:
    whole = hugbench("run", tiny, *ONE, "--results", "whole", *DEVICE)
    assert whole.returncode == 0, whole.stderr
    first = hugbench("run", tiny, *ONE, "--results", "parts", "--max-runs", "1", *DEVICE)
    assert first.returncode == 4
    assert "stopped early (max runs): 1 run is left; the same command goes on" in first.stderr
    last = hugbench("run", tiny, *ONE, "--results", "parts", "--max-runs", "1", "--time-limit", "1h", *DEVICE)
    assert last.returncode == 0, last.stderr
    assert "stopped early" not in last.stderr
    assert everything(tmp_path / "parts") == everything(tmp_path / "whole")
    plan = json.loads(hugbench("plan", tiny, "--results", "parts", "--json").stdout)
    assert plan["untimed"] == []
    assert 0 < plan["seconds_left"] < 600
    run = next(run for run in plan["runs"] if run["state"] == "done")
    path = tmp_path / "parts" / "runs" / run["run_id"]
    with RunFolder(path.parent.parent, path.name).lock() as mine:
        assert mine
        (path / "status.json").unlink()
        waiting = hugbench("run", tiny, *ONE, "--results", "parts", "--time-limit", "1s", "--json", *DEVICE)
    assert waiting.returncode == 4
    assert "stopped early (time limit): 1 run is left; the same command goes on" in waiting.stderr
    outcome = json.loads(waiting.stdout)
    assert (outcome["stopped"], len(outcome["done"])) == ("time limit", 1)


def watching(tiny: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("status", tiny, "--watch", *arguments),
        cwd=tiny.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that starts these tests in the background has them ignore it, and their children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_watched_until_all_is_done(hugbench, tiny: Path) -> None:
    lines, states = watching(tiny), watching(tiny, "--json")
    assert lines.stdout is not None
    assert "4 runs: 4 pending; time left: unknown" in lines.stdout.readline()
    done = hugbench("run", tiny, *DEVICE)
    assert done.returncode == 0, done.stderr
    told, errors = lines.communicate(timeout=30)
    assert (lines.returncode, errors) == (0, "")
    assert "[4/4] " in told
    assert told.endswith(": done; time left: about 0 s\n")
    reports = [json.loads(line) for line in states.communicate(timeout=30)[0].splitlines()]
    assert states.returncode == 0
    assert reports[0]["counts"] == {"pending": 4}
    assert reports[-1]["counts"] == {"done": 4}
    again = hugbench("status", tiny, "--watch")
    assert again.stdout == "tiny, 4 runs: 4 done; time left: about 0 s\n"


def test_watching_ends_with_ctrl_c(tiny: Path) -> None:
    process = watching(tiny)
    assert process.stdout is not None
    assert "4 pending" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    told, errors = process.communicate(timeout=30)
    assert (process.returncode, told, errors) == (130, "", "")
    assert not (tiny.parent / "results").exists()
