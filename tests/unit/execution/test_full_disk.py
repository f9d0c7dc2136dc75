"""A disk that fills up: one line, exit code 2, and the same command goes on once there is room."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from hugbench import api
from hugbench.errors import UserError
from hugbench.execution import measuring
from tests.e2e.conftest import TINY

OPTIONS = {"seeds": [0], "device": "cpu", "settings": ["recipe.epochs=1"]}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_stops_the_suite_and_loses_nothing(tmp_path: Path, monkeypatch, code: int) -> None:
    suite, results = tmp_path / "tiny.yaml", tmp_path / "results"
    suite.write_text(TINY)
    calls = []

    def full(*arguments: object) -> None:
        calls.append(arguments)
        raise OSError(code, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "_predictions", full)
        with pytest.raises(UserError, match="results cannot be written") as caught:
            api.run(suite, results=results, **OPTIONS)
        assert caught.value.exit_code == 2
        assert len(calls) == 1, "the suite went on"
    trained = list(results.rglob("model.safetensors"))
    before = [path.stat().st_mtime_ns for path in trained]
    outcome = api.run(suite, results=results, **OPTIONS)
    assert len(outcome.done) == 2
    assert [path.stat().st_mtime_ns for path in trained] == before, "a finished training was repeated"
