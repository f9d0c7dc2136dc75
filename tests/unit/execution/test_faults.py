"""A disk that fails at any write, files that are damaged between two attempts: nothing is lost or wrong."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from hugbench import api, storage
from hugbench.data import sources
from hugbench.errors import UserError
from hugbench.execution import run as execution
from hugbench.execution.events import Notice
from hugbench.results.store import RunFolder
from tests.e2e.test_resume import everything

SUITE = """\
criteria: [cross_entropy]
baseline: cross_entropy
dataset: {name: digits, max_train: 64, max_test: 40}
model: {backbone: test_resnet, embedding_dim: 8}
recipe: {epochs: 3, batch_size: 32, lr: 0.1, snapshot_every: 1}
evaluations: [{accuracy: {}, evaluate_after: each}]
seeds: [0]
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    return path


def run(suite: Path, name: str = "results", **options) -> list[str]:
    """Run the suite to its end; what was said."""
    said: list[str] = []

    def observe(event: object) -> None:
        if isinstance(event, Notice):
            said.append(event.text)

    results, data = suite.parent / name, suite.parent / "data"
    options = {"device": "cpu", "executor": "serial", **options}
    outcome = api.run(suite, results=results, data=data, observer=observe, **options)
    assert (len(outcome.done), len(outcome.failed)) == (1, 0), outcome.failed
    return said


@pytest.fixture
def undisturbed(suite: Path) -> dict[str, bytes]:
    run(suite, "undisturbed")
    return everything(suite.parent / "undisturbed")


def names(results: Path) -> list[str]:
    return sorted(path.relative_to(results).as_posix() for path in results.rglob("*"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_any_write_may_fail(suite: Path, undisturbed: dict[str, bytes], monkeypatch, code: int) -> None:
    results, whole, calls = suite.parent / "results", os.fsync, 0

    def failing(after: int):
        def fsync(handle: int) -> None:
            nonlocal calls
            calls += 1
            if calls == after:
                raise OSError(code, os.strerror(code))
            whole(handle)

        return fsync

    failures = 0
    for after in range(1, 80, 3 if code == errno.ENOSPC else 7):
        calls = 0
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing(after))
            try:
                run(suite)
                break
            except UserError as error:
                assert error.exit_code == 2
                assert "results cannot be written" in str(error)
                failures += 1
    assert failures >= 5
    run(suite)
    assert everything(results) == undisturbed
    assert names(results) == names(suite.parent / "undisturbed")


def planned(suite: Path) -> RunFolder:
    made = api.plan(suite, results=suite.parent / "results").plan
    return RunFolder(suite.parent / "results", made.runs[0].run.run_id)


def interrupted(suite: Path, monkeypatch, epoch: int) -> RunFolder:
    """A run that is left, as if killed, when so many epochs are stored."""

    class Killed(BaseException):
        pass

    def killed(self: object, row) -> None:
        if row.epoch + 1 == epoch:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(execution._Work, "_epoch", killed)
        run(suite)
    return planned(suite)


@pytest.mark.parametrize("harm", ["flipped", "gone", "unvouched"])
def test_what_was_kept_before_a_checkpoint_is_not_taken_on_trust(
    suite: Path, undisturbed: dict[str, bytes], monkeypatch, harm: str
) -> None:
    folder = interrupted(suite, monkeypatch, 2)
    kept = folder.path / "snapshots" / "epoch-1.safetensors"
    if harm == "flipped":
        data = bytearray(kept.read_bytes())
        data[-1] ^= 1
        kept.write_bytes(data)
    elif harm == "gone":
        kept.unlink()
    else:
        (folder.path / "status.json").unlink()
    said = run(suite)
    assert any("training starts over" in sentence for sentence in said)
    assert everything(suite.parent / "results") == undisturbed


def test_what_is_whole_is_gone_on_with(suite: Path, undisturbed: dict[str, bytes], monkeypatch) -> None:
    interrupted(suite, monkeypatch, 2)
    assert run(suite) == []
    assert everything(suite.parent / "results") == undisturbed


def test_a_checkpoint_left_behind_a_finished_training_is_removed(suite: Path, undisturbed) -> None:
    run(suite)
    folder = planned(suite)
    folder.checkpoint.write_bytes(b"left by a kill")
    run(suite)
    assert not folder.checkpoint.exists()


def test_a_specification_that_is_missing_is_written_again_and_nothing_else(suite: Path) -> None:
    run(suite)
    folder = planned(suite)
    text, model = folder.specification.read_bytes(), folder.model.stat()
    for harmed in (None, text[:-5], b""):
        folder.specification.unlink()
        if harmed is not None:
            folder.specification.write_bytes(harmed)
        run(suite)
        assert folder.specification.read_bytes() == text
    assert folder.model.stat().st_mtime_ns == model.st_mtime_ns
    assert len(json.loads((folder.path / "environment.json").read_text())["sessions"]) == 1


def test_an_evaluation_that_fails_does_not_cost_the_training(suite: Path, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/somewhere/else")

    with monkeypatch.context() as patch:
        patch.setattr(execution, "measure", broken)
        outcome = api.run(suite, results=suite.parent / "results", device="cpu", executor="serial")
    (error,) = outcome.failed.values()
    assert "FileNotFoundError" in error
    folder = planned(suite)
    before = folder.model.stat().st_mtime_ns
    assert (folder.path / "traceback.txt").exists()
    run(suite)
    assert folder.model.stat().st_mtime_ns == before
    assert not (folder.path / "traceback.txt").exists()


def test_a_disk_that_is_full_when_a_failure_is_written_is_one_line(suite: Path, monkeypatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def broken(*_: object) -> None:
        monkeypatch.setattr(os, "fsync", full)
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(execution, "measure", broken)
        with pytest.raises(UserError, match=r"results cannot be written \(No space left on device\)"):
            run(suite)
    monkeypatch.undo()
    run(suite)


def test_a_results_folder_with_a_lock_that_is_a_folder(suite: Path) -> None:
    run(suite)
    folder = planned(suite)
    (folder.path / "status.json").unlink()
    (folder.path / ".lock").unlink()
    (folder.path / ".lock").mkdir()
    with pytest.raises(UserError, match=r"\.lock: results cannot be written \(Is a directory\)"):
        run(suite)


def test_a_run_folder_that_is_a_file(suite: Path) -> None:
    folder = planned(suite)
    folder.path.parent.mkdir(parents=True)
    folder.path.write_text("")
    with pytest.raises(UserError, match=r"Not a directory|File exists"):
        run(suite)


def test_data_that_change_in_use_are_read_again(suite: Path, undisturbed, monkeypatch) -> None:
    from tests.chaos.suites import images

    images(suite.parent / "data", 120)
    suite.write_text(SUITE.replace("digits, max_train: 64", "pngs, max_train: 64"))
    run(suite, "alone")
    sources._loaded.clear()
    cache = suite.parent / "data" / ".hugbench" / "pngs.safetensors"
    epoch = execution._Work._epoch

    def damaging(self, row) -> None:
        epoch(self, row)
        if row.epoch == 0 and not damaged:
            damaged.append(row)
            with cache.open("r+b") as stream:
                stream.seek(-3000, os.SEEK_END)
                byte = stream.read(1)
                stream.seek(-3000, os.SEEK_END)
                stream.write(bytes([byte[0] ^ 255]))

    damaged: list[object] = []
    monkeypatch.setattr(execution._Work, "_epoch", damaging)
    said = run(suite)
    assert any("was changed while it was in use" in sentence for sentence in said)
    assert any("decoding again" in sentence for sentence in said)
    assert everything(suite.parent / "results") == everything(suite.parent / "alone")


def test_the_first_write_of_all_may_fail(suite: Path, monkeypatch) -> None:
    def closed(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(suite.parent / "results"))

    monkeypatch.setattr(storage.tempfile, "mkstemp", closed)
    with pytest.raises(UserError, match=r"--results: cannot be written \(Operation not permitted\)"):
        run(suite)
    assert not (suite.parent / "results").exists()
