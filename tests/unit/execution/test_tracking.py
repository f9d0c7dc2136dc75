"""Trackers mirror what the results hold, and never end a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from hugbench import api
from hugbench.errors import UserError
from hugbench.execution import tracking
from hugbench.execution.events import Notice

SUITE = """
criteria: [cross_entropy]
baseline: cross_entropy
dataset: {name: digits, max_train: 64, max_test: 40}
model: {backbone: test_resnet, embedding_dim: 8}
recipe: {epochs: 2, batch_size: 32, lr: 0.1}
seeds: [0]
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE)
    return path


def carry_out(suite: Path, *track: str, **options):
    notices: list[str] = []

    def observe(event) -> None:
        if isinstance(event, Notice):
            notices.append(event.text)

    folder = suite.parent
    outcome = api.run(
        suite, results=folder / "results", data=folder, device="cpu", track=track, observer=observe, **options
    )
    assert not outcome.failed
    return outcome, notices


def numbers(suite: Path) -> dict[str, float]:
    rows = api.records(suite, results=suite.parent / "results")
    return {f"{row['evaluation']}/{row['metric']}": row["value"] for row in rows if row["subset"] == "all"}


def test_tensorboard_has_every_number(suite: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    outcome, notices = carry_out(suite, "tensorboard")
    assert not notices
    (run_id,) = outcome.done
    events = EventAccumulator(str(suite.parent / "results" / "tensorboard" / run_id))
    events.Reload()
    assert [event.step for event in events.Scalars("training/loss")] == [1, 2]
    for name, value in numbers(suite).items():
        (event,) = events.Scalars(name)
        assert event.step == 2
        assert event.value == pytest.approx(value, rel=1e-6)


def test_nothing_is_tracked_where_nothing_runs(suite: Path) -> None:
    carry_out(suite)
    carry_out(suite, "tensorboard")
    assert not (suite.parent / "results" / "tensorboard").exists()


def test_wandb_offline(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    outcome, notices = carry_out(suite, "wandb")
    assert not notices
    (run_id,) = outcome.done
    assert list((suite.parent / "results").glob(f"wandb/offline-run-*-{run_id}/*.wandb"))


def test_mlflow_has_every_number(suite: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    outcome, notices = carry_out(suite, "mlflow")
    assert not notices
    client = mlflow.MlflowClient((suite.parent / "results" / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("tiny")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == outcome.done[0]
    assert run.info.status == "FINISHED"
    assert run.data.params["recipe.epochs"] == "2"
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "training/loss")] == [1, 2]
    for name, value in numbers(suite).items():
        assert run.data.metrics[name] == pytest.approx(value)


class Planted:
    """A tracker that keeps what it is told, and may break."""

    told: list[str]

    def __init__(self, suite: str, results: Path) -> None:
        self.told = type(self).told = []

    def start(self, run) -> None:
        self.told.append("start")

    def log(self, run, values, step) -> None:
        self.told.append(f"log {step}")

    def end(self, run, *, failed) -> None:
        self.told.append(f"end {failed}")

    def close(self) -> None:
        self.told.append("close")


class Breaking(Planted):
    """It breaks at the first number."""

    def log(self, run, values, step) -> None:
        raise ConnectionError("no network")


def test_one_interface(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tracking.TRACKERS, "planted", Planted)
    carry_out(suite, "planted")
    assert Planted.told == ["start", "log 1", "log 2", "log 2", "end False", "close"]


def test_a_tracker_that_fails_is_dropped_and_the_run_goes_on(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tracking.TRACKERS, "breaking", Breaking)
    monkeypatch.setitem(tracking.TRACKERS, "planted", Planted)
    _, notices = carry_out(suite, "breaking", "planted")
    assert notices == ["breaking failed and is told nothing more (ConnectionError: no network)"]
    assert Planted.told[-1] == "close"
    assert Breaking.told == ["start"]


def test_bad_input(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="unknown tracker") as error:
        carry_out(suite, "tensorbord")
    assert error.value.nearest == "tensorboard"

    def absent(suite: str, results: Path) -> None:
        raise ModuleNotFoundError("No module named 'mlflow'")

    monkeypatch.setitem(tracking.TRACKERS, "mlflow", absent)
    with pytest.raises(UserError, match="pip install mlflow"):
        carry_out(suite, "mlflow")
    assert not (suite.parent / "results" / "runs").exists()
