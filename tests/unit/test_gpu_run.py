"""What `tox -e gpu` starts, without starting it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu import run


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """Every command, none of which is run; `check` finds that something moved."""
    commands: list[tuple[str, ...]] = []

    def python(*arguments: str) -> int:
        commands.append(arguments)
        return 1 if "check" in arguments else 0

    monkeypatch.setattr(run, "python", python)
    monkeypatch.setenv("HUGBENCH_TEST_DEVICE", "cpu")
    monkeypatch.setenv("HUGBENCH_DATA", str(tmp_path / "none"))
    monkeypatch.delenv("HUGBENCH_TEST_SHORT", raising=False)
    return commands


def verbs(commands: list[tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(each[1], Path(each[2]).stem) for each in commands if each[0] == "hugbench"]


def test_tests_and_the_suite_whose_images_are_there(
    started: list[tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(tmp_path, ["-k", "words"]) == 1
    assert started[0] == ("pytest", "-k", "words")
    assert verbs(started) == [("run", "regression"), ("check", "regression")]
    assert started[1][-2:] == ("--device", "cpu")
    assert "regression_fashion_mnist is left out" in capsys.readouterr().out


def test_the_second_suite_where_its_images_are(
    started: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "find", lambda name, root: root / name)
    run.main(tmp_path, [])
    assert ("check", "regression_fashion_mnist") in verbs(started)


def test_the_short_form_is_two_seeds_and_no_tests(
    started: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUGBENCH_TEST_SHORT", "1")
    assert run.main(tmp_path, []) == 1
    assert verbs(started) == [("run", "regression"), ("check", "regression")]
    assert all("0,1" in each for each in started)


def test_what_failed_to_run_is_not_checked(
    tmp_path: Path, started: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "python", lambda *arguments: started.append(arguments) or 3)
    assert run.held("regression", tmp_path, tmp_path) == 3
    assert verbs(started) == [("run", "regression")]


def test_both_suites_lie_where_they_are_looked_for() -> None:
    assert {"regression.yaml", "regression_fashion_mnist.yaml"} <= {
        path.name for path in run.SUITES.iterdir()
    }
