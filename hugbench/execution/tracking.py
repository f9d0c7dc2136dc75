"""Events of a suite for TensorBoard, W&B and MLflow, through one interface.

A tracker mirrors; the truth stays in the results folder. One that fails is dropped with a notice, and
the runs go on.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from hugbench.errors import UserError, nearest
from hugbench.execution.events import (
    EpochDone,
    Evaluated,
    Event,
    Notice,
    Observer,
    RunDone,
    RunFailed,
    RunStarted,
)
from hugbench.suite.plan import Plan, Run


class Tracker(Protocol):
    """One service: what it is told of every run."""

    def start(self, run: Run) -> None:
        """A run begins or goes on."""

    def log(self, run: Run, values: Mapping[str, float], step: int) -> None:
        """Finite numbers at an epoch, or after an experience."""

    def end(self, run: Run, *, failed: bool) -> None:
        """The run is over."""

    def close(self) -> None:
        """Nothing more comes."""


class TensorBoard:
    """Event files in `RESULTS/tensorboard/RUN_ID`."""

    def __init__(self, suite: str, results: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer, self._folder, self._open = SummaryWriter, results / "tensorboard", dict[str, Any]()

    def start(self, run: Run) -> None:
        writer = self._writer(self._folder / run.run_id)
        self._open[run.run_id] = writer
        writer.add_text("specification", f"```json\n{json.dumps(run.resolved(), indent=1)}\n```")

    def log(self, run: Run, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._open[run.run_id].add_scalar(name, value, step)

    def end(self, run: Run, *, failed: bool) -> None:
        self._open.pop(run.run_id).close()

    def close(self) -> None:
        for writer in self._open.values():
            writer.close()


class WandB:
    """A W&B run for each run, of the suite's group; where it goes is W&B's own configuration."""

    def __init__(self, suite: str, results: Path) -> None:
        import wandb

        self._wandb, self._suite, self._folder, self._open = wandb, suite, results, dict[str, Any]()

    def start(self, run: Run) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._open[run.run_id] = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "hugbench"),
            group=self._suite,
            name=run.run_id,
            id=run.run_id,
            resume="allow",
            reinit="create_new",
            dir=str(self._folder),
            config=run.resolved(),
        )

    def log(self, run: Run, values: Mapping[str, float], step: int) -> None:
        self._open[run.run_id].log({**values, "step": step})

    def end(self, run: Run, *, failed: bool) -> None:
        self._open.pop(run.run_id).finish(exit_code=int(failed))

    def close(self) -> None:
        for run in self._open.values():
            run.finish(exit_code=255)


class MLflow:
    """An MLflow run for each run, in the suite's experiment; in `RESULTS/mlruns` by default."""

    def __init__(self, suite: str, results: Path) -> None:
        from mlflow import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            uri = (results.resolve() / "mlruns").as_uri()
        self._client = MlflowClient(uri)
        found = self._client.get_experiment_by_name(suite)
        self._experiment = found.experiment_id if found else self._client.create_experiment(suite)
        self._open: dict[str, str] = {}

    def start(self, run: Run) -> None:
        tag = "hugbench.run_id"
        earlier = self._client.search_runs([self._experiment], f"tags.`{tag}` = '{run.run_id}'")
        if earlier:
            self._open[run.run_id] = earlier[0].info.run_id
            return
        made = self._client.create_run(self._experiment, run_name=run.run_id, tags={tag: run.run_id})
        self._open[run.run_id] = made.info.run_id
        for name, value in _flat(run.resolved()).items():
            self._client.log_param(made.info.run_id, name, value)

    def log(self, run: Run, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._client.log_metric(self._open[run.run_id], _plain(name), value, step=step)

    def end(self, run: Run, *, failed: bool) -> None:
        self._client.set_terminated(self._open.pop(run.run_id), "FAILED" if failed else "FINISHED")

    def close(self) -> None:
        for made in self._open.values():
            self._client.set_terminated(made, "KILLED")


TRACKERS: dict[str, Callable[[str, Path], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
}


@contextmanager
def tracked(names: Sequence[str], plan: Plan, results: Path, observe: Observer) -> Iterator[Observer]:
    """An observer that also tells trackers; they are closed afterwards.

    Args:
        names: of `TRACKERS`.
        plan: whose runs they are told of.
        results: the results folder.
        observe: is told first.

    Raises:
        UserError: no such tracker, or its package is not installed.
    """
    trackers = {name: _tracker(name, plan.suite, results) for name in dict.fromkeys(names)}
    watch = _Watch(trackers, {planned.run.run_id: planned.run for planned in plan.runs}, observe)
    try:
        yield watch
    finally:
        watch.tell(lambda tracker: tracker.close())


def _tracker(name: str, suite: str, results: Path) -> Tracker:
    if name not in TRACKERS:
        raise UserError(
            "unknown tracker",
            key="--track",
            found=name,
            expected=f"one of: {', '.join(TRACKERS)}",
            nearest=nearest(name, TRACKERS),
        )
    try:
        return TRACKERS[name](suite, results)
    except ImportError as error:
        raise UserError(
            f"{name} cannot be imported ({error})", key="--track", found=name, expected=f"pip install {name}"
        ) from error


class _Watch:
    """From events to trackers. A run is started at its first event, whatever that is."""

    def __init__(self, trackers: dict[str, Tracker], runs: Mapping[str, Run], observe: Observer) -> None:
        self._trackers, self._runs, self._observe = trackers, runs, observe
        self._started: set[str] = set()

    def __call__(self, event: Event) -> None:
        self._observe(event)
        if not isinstance(event, RunStarted | EpochDone | Evaluated | RunDone | RunFailed):
            return
        run = self._runs[event.run_id]
        if isinstance(event, RunDone) and run.run_id not in self._started:
            return
        if run.run_id not in self._started:
            self._started.add(run.run_id)
            self.tell(lambda tracker: tracker.start(run))
        match event:
            case EpochDone():
                values = {"training/loss": event.loss, "training/accuracy": event.accuracy}
                values["training/images_per_second"] = event.images_per_second
                self._log(run, values, event.epoch + 1)
            case Evaluated():
                for step, values in _numbers(event, run).items():
                    self._log(run, values, step)
            case RunDone() | RunFailed():
                self._started.discard(run.run_id)
                failed = isinstance(event, RunFailed)
                self.tell(lambda tracker: tracker.end(run, failed=failed))

    def tell(self, say: Callable[[Tracker], None]) -> None:
        """Call every tracker; one that raises is dropped."""
        for name, tracker in list(self._trackers.items()):
            try:
                say(tracker)
            except Exception as error:  # a service may fail in any way, and must not end a run
                del self._trackers[name]
                told = f"{name} failed and is told nothing more ({type(error).__name__}: {error})"
                self._observe(Notice(told))

    def _log(self, run: Run, values: Mapping[str, float], step: int) -> None:
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self.tell(lambda tracker: tracker.log(run, finite, step))


def _numbers(event: Evaluated, run: Run) -> dict[int, dict[str, float]]:
    """The numbers of an evaluation over all images, by step: the experience, the epoch, or the last epoch."""
    found: dict[int, dict[str, float]] = {}
    for row in event.rows:
        if row["subset"] != "all" or row["value"] is None:
            continue
        step = row["experience"] if row["experience"] is not None else row["epoch"] or run.epochs
        parts = [row["evaluation"], row["metric"]]
        parts += [row["condition"]] if row["condition"] != "clean" else []
        parts += [f"severity {row['severity']}"] if row["severity"] is not None else []
        found.setdefault(step, {})["/".join(parts)] = row["value"]
    return found


def _flat(value: Mapping[str, Any], head: str = "") -> dict[str, Any]:
    """Nested settings as dotted names."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{head}{key}"
        flat |= _flat(item, f"{name}.") if isinstance(item, Mapping) else {name: item}
    return flat


def _plain(name: str) -> str:
    """A name with the characters that MLflow takes."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in name)
