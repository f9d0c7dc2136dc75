"""Runs that are sent to a worker and back: whole or not at all, and nothing better is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hugbench.execution.executors.parcels import Packed, pack, pack_weights, put_back, unpack
from hugbench.results.store import RunFolder


def run_folder(root: Path, *, state: str = "trained", keys: tuple[str, ...] = ("accuracy-1",)) -> RunFolder:
    folder = RunFolder(root, "ce-1")
    for name in (folder.path / "records", folder.path / "predictions", folder.path / "scratch/end"):
        name.mkdir(parents=True, exist_ok=True)
    folder.model.write_bytes(b"weights")
    folder.log.write_text("{}\n")
    (folder.path / "scratch/end/batch").write_bytes(b"half done")
    (folder.path / ".lock").touch()
    (folder.path / ".model.safetensors.xyz.tmp").write_bytes(b"wei")
    status = replace(folder.status(), state=state, evaluations=list(keys))
    folder.sealed(status, folder.model)
    for key in keys:
        folder.records_file(key).write_text("{}\n")
        folder.predictions_file(key).write_bytes(b"parquet " + key.encode())
        folder.sealed(status, folder.records_file(key), folder.predictions_file(key))
    folder.write_status(status)
    return folder


def contents(folder: RunFolder) -> dict[str, bytes]:
    files = [path for path in folder.path.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder.path).as_posix(): path.read_bytes() for path in files}


def test_there_and_back(tmp_path: Path) -> None:
    here, there = run_folder(tmp_path / "here", keys=()), RunFolder(tmp_path / "there", "ce-1")
    unpack(there, pack(here))
    assert contents(there) == contents(here)
    assert there.model.stat().st_mtime_ns == here.model.stat().st_mtime_ns
    assert not [path for path in there.path.rglob(".*") if path.is_file()]
    more = run_folder(tmp_path / "there", keys=("accuracy-1", "ood-2"))
    (more.path / "scratch/end/batch").unlink()
    before = here.model.stat().st_mtime_ns
    assert put_back(here, pack(more)) is None
    assert contents(here) == contents(more)
    assert here.model.stat().st_mtime_ns >= before
    assert (here.path / ".lock").exists(), "whoever holds the lock keeps it"


def test_a_run_that_nobody_began(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "ce-1")
    assert pack(folder) == {}
    unpack(folder, {})
    assert put_back(folder, {}) is None
    assert not folder.path.exists()


def test_of_a_baseline_weights_and_status(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    (folder.path / "snapshots").mkdir()
    (folder.path / "snapshots/epoch-2.safetensors").write_bytes(b"early")
    assert set(pack_weights(folder)) == {
        "model.safetensors",
        "snapshots/epoch-2.safetensors",
        "status.json",
    }


@pytest.mark.parametrize(
    "name", ["model.safetensors", "records/accuracy-1.jsonl", "predictions/accuracy-1.parquet", "status.json"]
)
def test_what_was_damaged_on_the_way_is_not_taken(tmp_path: Path, name: str) -> None:
    here = run_folder(tmp_path / "here", state="training", keys=())
    here.model.write_bytes(b"older")
    before = contents(here)
    parcel = dict(pack(run_folder(tmp_path / "there")))
    parcel[name] = Packed(parcel[name].content[:-2] + b"?", parcel[name].changed)
    assert "damaged" in (put_back(here, parcel) or "")
    assert contents(here) == before


def test_damage_that_was_there_before_is_no_reason(tmp_path: Path) -> None:
    here = run_folder(tmp_path / "here", keys=("accuracy-1",))
    here.records_file("accuracy-1").write_text("harmed")
    there = RunFolder(tmp_path / "there", "ce-1")
    unpack(there, pack(here))
    status = there.status()
    there.records_file("ood-2").write_text("{}\n")
    there.predictions_file("ood-2").write_bytes(b"parquet")
    there.sealed(status, there.records_file("ood-2"), there.predictions_file("ood-2"))
    status.evaluations = ["ood-2"]
    there.write_status(status)
    assert put_back(here, pack(there)) is None
    assert here.status().evaluations == ["ood-2"]


@pytest.mark.parametrize("less", ["a training that goes on", "a failure", "an evaluation less"])
def test_nothing_better_is_replaced(tmp_path: Path, less: str) -> None:
    here, there = run_folder(tmp_path / "here"), tmp_path / "there"
    before = contents(here)
    states = {"a training that goes on": "training", "a failure": "failed", "an evaluation less": "trained"}
    parcel = pack(run_folder(there, state=states[less], keys=()))
    assert "less than what is here" in (put_back(here, parcel) or "")
    assert contents(here) == before


def test_what_is_damaged_here_is_replaced_by_less(tmp_path: Path) -> None:
    here, there = run_folder(tmp_path / "here"), run_folder(tmp_path / "there", state="training", keys=())
    here.model.write_bytes(b"harmed")
    assert put_back(here, pack(there)) is None
    assert here.status().state == "training"


def test_killed_while_putting_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every file the folder is one that goes on: what its status names is whole, or is seen to be not."""
    from hugbench.execution.executors import parcels

    parcel = pack(run_folder(tmp_path / "there", keys=("accuracy-1", "ood-2")))
    for survived in range(len(parcel)):
        here = run_folder(tmp_path / f"here{survived}")
        here.log.write_text("other\n")
        left = [survived]
        writes = parcels.write_atomic

        def write(path: Path, data: bytes, left: list[int] = left, writes=writes) -> str:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return writes(path, data)

        monkeypatch.setattr(parcels, "write_atomic", write)
        try:
            put_back(here, parcel)
        except KeyboardInterrupt:
            status = here.status()
            assert status.evaluations == ["accuracy-1"]
            assert here.damaged_evaluation(status, "accuracy-1") is None
        monkeypatch.setattr(parcels, "write_atomic", writes)
        assert put_back(here, parcel) is None
        assert {name: packed.content for name, packed in parcel.items()} == contents(here)
