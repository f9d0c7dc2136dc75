"""One run: train it or take it up again, then evaluate what is missing."""

from __future__ import annotations

import errno
import json
import math
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from torch import Tensor

from hugbench import registry
from hugbench.criteria.build import build_criterion
from hugbench.data.images import Dataset
from hugbench.data.longtail import by_frequency
from hugbench.data.sources import load
from hugbench.errors import CorruptFile, UserError
from hugbench.evaluations.base import Findings, Measurement, Setting
from hugbench.execution.environment import environment
from hugbench.execution.events import EpochDone, Evaluated, Notice, Observer, RunDone, RunFailed, RunStarted
from hugbench.execution.threads import set_threads
from hugbench.models import Classifier, build, load_weights, save
from hugbench.registry import load_target
from hugbench.results.store import DAMAGED, RunFolder, Status
from hugbench.seeding import seed_everything
from hugbench.storage import atomic, write_atomic
from hugbench.suite.continual import ContinualSpec, check_images
from hugbench.suite.moments import Moment
from hugbench.suite.plan import Asked, PlannedRun, Run, asked
from hugbench.suite.plugins import EvaluationSpec
from hugbench.suite.schema import DatasetSpec
from hugbench.training.checkpoint import read_epoch
from hugbench.training.loop import EpochMetrics

Result = Literal["done", "failed", "busy"]


@dataclass(frozen=True)
class Place:
    """Where runs find their data, leave their results and compute."""

    data: Path
    results: Path
    device: torch.device


def execute(
    planned: PlannedRun, evaluations: tuple[EvaluationSpec, ...], place: Place, observe: Observer
) -> Result:
    """Bring one run to its end; `busy` if another process is at it.

    An error of the run (a loss that is not finite, a criterion that raises) is recorded and
    reported, and is no exception here.

    Raises:
        UserError: what concerns every run, such as a full disk.
    """
    folder = RunFolder(place.results, planned.run.run_id)
    try:
        with folder.lock() as mine:
            if not mine:
                return "busy"
            return _Work(planned, evaluations, place, folder, observe).finish()
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}:
            raise UserError(
                f"results cannot be written ({error.strerror})",
                where=place.results,
                expected="room on the disk; what is finished is kept, the same command goes on from there",
            ) from error
        raise


def check(planned: PlannedRun, place: Place, notify: Callable[[str], None]) -> None:
    """Load the data and build the model of a run, so that bad input shows before anything starts.

    Raises:
        UserError: the data, the backbone, the criterion or the batch size does not fit.
    """
    run = planned.run
    dataset = dataset_of(run.dataset, place.data, notify)
    if isinstance(run.protocol, ContinualSpec):
        counts = torch.bincount(dataset.train.targets, minlength=len(dataset.classes)).tolist()
        check_images(run.protocol, run.recipe, counts, run.seed)
    else:
        _check_batches(run, dataset)
    _untrained(run, dataset)


def _check_batches(run: Run, dataset: Dataset) -> None:
    if run.recipe.batch_size > len(dataset.train):
        raise UserError(
            "the batch is larger than the data",
            key="recipe.batch_size",
            found=run.recipe.batch_size,
            expected=f"at most {len(dataset.train)}, the training images of {run.dataset.name}",
        )
    if not run.recipe.drop_last and len(dataset.train) % run.recipe.batch_size == 1:
        raise UserError(
            "an epoch's last batch would hold a single image, which batch normalisation cannot take",
            key="recipe.drop_last",
            found=False,
            expected=f"true, or a batch_size that does not leave 1 of {len(dataset.train)} images over",
        )


@dataclass
class _Work:
    """The steps of one run, under its lock."""

    planned: PlannedRun
    evaluations: tuple[EvaluationSpec, ...]
    place: Place
    folder: RunFolder
    observe: Observer

    def finish(self) -> Result:
        run, begun = self.planned.run, time.monotonic()
        status = self._checked(self.folder.status())
        missing = [question for question in self.asked if question.key not in status.evaluations]
        reused = status.state == "trained" and not missing
        try:
            if not reused:
                self._work(status, missing)
        except (UserError, OSError):
            raise
        except Exception as error:
            self._failed(status, error)
            return "failed"
        seconds = time.monotonic() - begun
        self.observe(RunDone(run.run_id, self.planned.label, run.seed, seconds, reused))
        return "done"

    @property
    def asked(self) -> tuple[Asked, ...]:
        return asked(self.planned.run, self.evaluations)

    def _work(self, status: Status, missing: list[Asked]) -> None:
        run, device = self.planned.run, self.place.device
        dataset = dataset_of(run.dataset, self.place.data, self._notify)
        classifier = _untrained(run, dataset)
        if device.type == "cpu":
            set_threads(classifier, dataset.train.shape, run.recipe.batch_size)
        classifier.to(device)
        if status.state != "trained":
            self._train(status, classifier, dataset)
        elif any(question.last for question in missing):
            load_weights(classifier, self.folder.model)
        setting = Setting(dataset, device, run.seed, subsets=_subsets(dataset))
        for question in missing:
            if question.last:
                self._evaluate(status, question, classifier, setting)
        for moment in run.moments[:-1]:
            at_moment = [question for question in missing if question.moment == moment]
            if at_moment:
                then = self._classifier_at(moment, dataset)
            for question in at_moment:
                self._evaluate(status, question, then, setting)

    def _classifier_at(self, moment: Moment, dataset: Dataset) -> Classifier:
        """The classifier as it was at a moment before the end of its training."""
        classifier = _untrained(self.planned.run, dataset).to(self.place.device)
        if moment.experience != 0:
            load_weights(classifier, self.folder.snapshot(moment))
        return classifier.eval()

    def _train(self, status: Status, classifier: Classifier, dataset: Dataset) -> None:
        run, folder = self.planned.run, self.folder
        resolved = _lists({**run.resolved(), "criterion_as_built": repr(classifier.criterion)})
        write_atomic(folder.path / "run.yaml", yaml.safe_dump(resolved, sort_keys=False).encode())
        self._note_environment(dataset)
        first = self._first_epoch()
        status.state, status.error = "training", None
        folder.write_status(status)
        self.observe(RunStarted(run.run_id, self.planned.label, run.seed, run.epochs, first))
        begun = time.monotonic()
        protocol = load_target(registry.PROTOCOLS[run.protocol.name])
        protocol(
            classifier,
            dataset,
            run,
            device=self.place.device,
            checkpoint=folder.checkpoint,
            log=folder.log,
            on_epoch=self._epoch,
            keep=self._keep,
        )
        status.seconds += time.monotonic() - begun
        status.state = "trained"
        folder.sealed(status, *self._weights())
        folder.write_status(status)
        folder.checkpoint.unlink(missing_ok=True)

    def _keep(self, moment: Moment, classifier: Classifier) -> None:
        """Write the weights of a moment; those of the end are the run's model."""
        last = moment == self.planned.run.moments[-1]
        save(classifier, self.folder.model if last else self.folder.snapshot(moment))

    def _weights(self) -> list[Path]:
        """The files of all moments: the model, and the snapshots before it."""
        before = [moment for moment in self.planned.run.moments[:-1] if moment.experience != 0]
        return [self.folder.model, *map(self.folder.snapshot, before)]

    def _evaluate(self, status: Status, question: Asked, classifier: Classifier, setting: Setting) -> None:
        spec, key, folder = question.spec, question.key, self.folder
        function: Callable[..., Findings] = load_target(spec.target)
        seed_everything(self.planned.run.seed, "evaluation", spec.key)
        findings = function(classifier, setting, **spec.values())
        records, predictions = folder.records_file(key), folder.predictions_file(key)
        rows = [_row(self.planned.run, question, measurement) for measurement in findings.measurements]
        write_atomic(records, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode())
        _write_predictions(predictions, findings)
        folder.sealed(status, records, predictions)
        status.evaluations.append(key)
        status.notes[key] = findings.notes
        folder.write_status(status)
        first = findings.measurements[0]
        self.observe(Evaluated(self.planned.run.run_id, spec.name, first.metric, first.value))

    def _checked(self, status: Status) -> Status:
        """The status without what is damaged on disk; each damage is reported and will be redone."""
        folder = self.folder
        if status.state == "failed" or status.error:
            if status.error == DAMAGED:
                self._notify(f"{self.folder.run_id}: {DAMAGED}; the run is redone")
            status.state, status.error = "pending", None
        for question in self.asked:
            finished = question.key in status.evaluations
            if finished and (reason := folder.damaged_evaluation(status, question.key)):
                self._notify(f"{folder.run_id}: {reason}; {question.spec.name} is redone")
                status.evaluations.remove(question.key)
        if status.state == "trained" and (reason := self._damaged_weights(status)):
            self._notify(f"{folder.run_id}: {reason}; the model is trained again, and evaluated")
            status.state, status.evaluations = "pending", []
        return status

    def _damaged_weights(self, status: Status) -> str | None:
        """What is wrong with the weights that an unfinished evaluation needs, or None."""
        missing = [question for question in self.asked if question.key not in status.evaluations]
        needed = {question.moment for question in missing if question.moment.experience != 0}
        end = self.planned.run.moments[-1]
        files = [self.folder.model if moment == end else self.folder.snapshot(moment) for moment in needed]
        return next((reason for file in sorted(files) if (reason := self.folder.damaged(status, file))), None)

    def _first_epoch(self) -> int:
        """The epoch to go on with; a damaged checkpoint is reported and removed."""
        if not self.folder.checkpoint.exists():
            return 0
        try:
            return read_epoch(self.folder.checkpoint)
        except CorruptFile as error:
            self._notify(f"{error}; training starts over")
            self.folder.checkpoint.unlink()
            return 0

    def _note_environment(self, dataset: Dataset) -> None:
        path = self.folder.path / "environment.json"
        now = {**environment(str(self.place.device)), "data_sha256": dataset.checksum}
        try:
            sessions = json.loads(path.read_text())["sessions"]
        except (OSError, ValueError, KeyError, TypeError):
            sessions = []
        write_atomic(path, (json.dumps({"sessions": [*sessions, now]}, indent=1) + "\n").encode())

    def _epoch(self, row: EpochMetrics) -> None:
        self.observe(
            EpochDone(
                self.planned.run.run_id,
                row.epoch,
                self.planned.run.epochs,
                row.loss,
                row.accuracy,
                row.images_per_second,
                row.seconds,
            )
        )

    def _failed(self, status: Status, error: Exception) -> None:
        """Record why the run ended; the traceback is kept beside it."""
        run = self.planned.run
        status.state, status.error = "failed", f"{type(error).__name__}: {error}"
        write_atomic(self.folder.path / "traceback.txt", traceback.format_exc().encode())
        self.folder.write_status(status)
        self.observe(RunFailed(run.run_id, self.planned.label, run.seed, status.error))

    def _notify(self, text: str) -> None:
        self.observe(Notice(text))


_loaded: dict[tuple[DatasetSpec, Path], Dataset] = {}


def dataset_of(spec: DatasetSpec, root: Path, notify: Callable[[str], None]) -> Dataset:
    """The data, loaded once per process."""
    key = spec, root
    if key not in _loaded:
        _loaded[key] = load(spec, root, notify=notify)
    return _loaded[key]


def _untrained(run: Run, dataset: Dataset) -> Classifier:
    channels, height, width = dataset.train.shape
    return build(
        run.model,
        lambda in_features: build_criterion(run.criterion, in_features, len(dataset.classes)),
        channels=channels,
        image_size=(height, width),
        mean=dataset.mean,
        std=dataset.std,
        seed=run.seed,
    )


def _subsets(dataset: Dataset) -> dict[str, Tensor]:
    """The classes with many, medium and few training images, where the classes differ in that."""
    counts = torch.bincount(dataset.train.targets, minlength=len(dataset.classes))
    groups = by_frequency(counts.tolist())
    return {name: torch.tensor(labels) for name, labels in groups.items()} if len(groups) > 1 else {}


def _row(run: Run, question: Asked, found: Measurement) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "criterion": run.criterion.name,
        "dataset": run.dataset.name,
        "backbone": run.model.backbone,
        "protocol": run.protocol.label,
        "seed": run.seed,
        "evaluation": question.spec.name,
        "metric": found.metric,
        "condition": found.condition,
        "severity": found.severity,
        "experience": question.moment.experience,
        "epoch": question.moment.epoch,
        "subset": found.subset,
        "value": found.value if math.isfinite(found.value) else None,
        "n": found.n,
    }


def _write_predictions(path: Path, findings: Findings) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table(dict(findings.predictions))
    with atomic(path) as stream:
        pyarrow.parquet.write_table(table, stream)


def _lists(value: Any) -> Any:
    """Tuples as lists, for YAML."""
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value
