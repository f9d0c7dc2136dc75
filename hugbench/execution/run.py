"""One run: train it or take it up again, then evaluate what is missing."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from hugbench import registry
from hugbench.data.images import Dataset
from hugbench.errors import ChangedInUse, CorruptFile, UserError
from hugbench.execution.control import Stopped
from hugbench.execution.environment import environment
from hugbench.execution.events import EpochDone, Notice, Observer, RunDone, RunFailed, RunStarted
from hugbench.execution.measuring import measure, setting
from hugbench.execution.place import Place
from hugbench.execution.preparation import dataset_of, threads_of, untrained
from hugbench.execution.schedule import ATTEMPTS, Result
from hugbench.execution.together import training
from hugbench.models import Classifier, load_weights, packed
from hugbench.registry import load_target
from hugbench.results.store import DAMAGED, RunFolder, Status, keeping
from hugbench.storage import is_of_disk, write_atomic
from hugbench.suite.moments import Moment
from hugbench.suite.plan import Asked, PlannedRun, Run, asked
from hugbench.suite.plugins import EvaluationSpec
from hugbench.training.checkpoint import read_epoch
from hugbench.training.loop import EpochMetrics
from hugbench.training.ranks import RankFailed


def execute(
    planned: PlannedRun,
    evaluations: tuple[EvaluationSpec, ...],
    place: Place,
    observe: Observer,
    pause: Callable[[], bool] = lambda: False,
) -> Result:
    """Bring one run to its end, or tell what is in the way.

    Args:
        planned: the run.
        evaluations: what is asked of it.
        place: where.
        observe: is told what happens.
        pause: is asked at every checkpoint, and between evaluations, whether to stop there.

    An error of the run (a loss that is not finite, a criterion that raises) is recorded and
    reported, and is no exception here.

    Raises:
        UserError: what concerns every run, such as a full disk.
        RankFailed: of several processes that train together one failed, or was lost.
    """
    folder = RunFolder(place.results, planned.run.run_id)
    with keeping(place.results), folder.lock() as mine:
        if not mine:
            return "busy"
        return _Work(planned, evaluations, place, folder, observe, pause).finish()


@dataclass
class _Work:
    """The steps of one run, under its lock."""

    planned: PlannedRun
    evaluations: tuple[EvaluationSpec, ...]
    place: Place
    folder: RunFolder
    observe: Observer
    pause: Callable[[], bool]

    def finish(self, attempts: int = ATTEMPTS) -> Result:
        """All of it; `attempts` is how often the data may be changed under it."""
        run, begun = self.planned.run, time.monotonic()
        status = self._checked(self.folder.status())
        self.folder.tidy(status)
        missing = [question for question in self.asked if question.key not in status.evaluations]
        reused = status.state == "trained" and not missing and not self.folder.damaged_specification(status)
        try:
            if not reused and not self._work(status, missing):
                return "waiting"
        except Stopped:
            self.folder.write_status(status)
            return "stopped"
        except (UserError, RankFailed):
            raise
        except Exception as error:
            if isinstance(error, ChangedInUse) and attempts > 1:
                self._notify(f"{error}; {run.run_id} goes on from its last checkpoint")
                return self.finish(attempts - 1)
            if is_of_disk(error, self.place.results):
                raise
            self._failed(status, error)
            return "failed"
        self._traceback.unlink(missing_ok=True)
        seconds = time.monotonic() - begun
        self.observe(RunDone(run.run_id, self.planned.label, run.seed, seconds, reused))
        return "done"

    @property
    def asked(self) -> tuple[Asked, ...]:
        return asked(self.planned, self.evaluations)

    def _work(self, status: Status, missing: list[Asked]) -> bool:
        """Train, and answer what is missing; whether all is answered."""
        run, device = self.planned.run, self.place.device
        dataset = dataset_of(run.dataset, self.place.data, self._notify)
        classifier = untrained(run, dataset)
        if device.type == "cpu":
            torch.set_num_threads(threads_of(run, classifier, dataset))
        classifier.to(device)
        if status.state != "trained":
            self._train(status, classifier, dataset)
        else:
            if self.folder.damaged_specification(status):
                self._specify(status, classifier)
                self.folder.write_status(status)
            if any(question.last for question in missing):
                load_weights(classifier, self.folder.model)
        ready = self._reference_is_settled()
        for moment in reversed(run.moments):
            at_moment = [
                question
                for question in missing
                if question.moment == moment and (ready or not question.spec.paired)
            ]
            if not at_moment:
                continue
            last = moment == run.moments[-1]
            then = classifier if last else self._classifier_at(run, moment, dataset)
            where = replace(
                setting(run, moment, dataset, device),
                data=self.place.data,
                scratch=self.folder.scratch(None if last else moment),
                reference=partial(self._reference_at, moment, dataset),
                tell=self._notify,
                pause=self._stop_if_asked,
            )
            for question in at_moment:
                self._stop_if_asked()
                self.observe(measure(run, question, then, where, self.folder, status))
        return ready or not any(question.spec.paired for question in missing)

    def _classifier_at(self, run: Run, moment: Moment, dataset: Dataset) -> Classifier:
        """The classifier of a run as it was at a moment of its training."""
        classifier = untrained(run, dataset).to(self.place.device)
        if moment.experience != 0:
            load_weights(classifier, weights_file(RunFolder(self.place.results, run.run_id), run, moment))
        return classifier.eval()

    def _reference_at(self, moment: Moment, dataset: Dataset) -> Classifier | None:
        """The paired baseline's classifier at a moment.

        None without a baseline, if its run failed, or if its training, which may be shorter, never came
        there.

        Raises:
            CorruptFile: its weights are damaged or missing.
        """
        run = self.planned.reference
        if run is None or moment not in run.moments:
            return None
        folder = RunFolder(self.place.results, run.run_id)
        status, file = folder.status(), weights_file(folder, run, moment)
        if status.state != "trained":
            return None
        if moment.experience != 0 and (reason := folder.damaged(status, file)):
            with folder.lock() as mine:
                if mine and folder.damaged(status := folder.status(), file):
                    folder.disown(status)
            raise CorruptFile(file, f"{reason}; the baseline is trained again by the same command")
        return self._classifier_at(run, moment, dataset)

    def _reference_is_settled(self) -> bool:
        """Whether the paired baseline, if there is one, is trained or has failed."""
        run = self.planned.reference
        if run is None:
            return True
        return RunFolder(self.place.results, run.run_id).status().state in ("trained", "failed")

    def _train(self, status: Status, classifier: Classifier, dataset: Dataset) -> None:
        run, folder = self.planned.run, self.folder
        self._specify(status, classifier)
        self._note_environment(dataset)
        first = self._first_epoch(status)
        status.state, status.error = "training", None
        folder.write_status(status)
        self.observe(RunStarted(run.run_id, self.planned.label, run.seed, run.epochs, first))
        begun = time.monotonic()
        protocol = load_target(registry.PROTOCOLS[run.protocol.name])
        try:
            with training(self.place, run) as together:
                protocol(
                    classifier,
                    dataset,
                    run,
                    device=self.place.device,
                    checkpoint=folder.checkpoint,
                    log=folder.log,
                    on_epoch=self._epoch,
                    keep=partial(self._keep, status),
                    note=self._note,
                    **together,
                )
        finally:
            status.seconds += time.monotonic() - begun
        status.state = "trained"
        folder.write_status(status)
        folder.checkpoint.unlink(missing_ok=True)

    def _specify(self, status: Status, classifier: Classifier) -> None:
        """Write what the run is."""
        resolved = _lists({**self.planned.run.resolved(), "criterion_as_built": repr(classifier.criterion)})
        text = yaml.safe_dump(resolved, sort_keys=False)
        self.folder.store(status, self.folder.specification, text.encode())

    def _keep(self, status: Status, moment: Moment, classifier: Classifier) -> None:
        """Write the weights of a moment, and vouch for them before the checkpoint that lies behind it."""
        file = weights_file(self.folder, self.planned.run, moment)
        self.folder.store(status, file, packed(classifier))
        self.folder.write_status(status)

    def _note(self, name: str, told: Any) -> None:
        """Write what the protocol says of the training beside the run's other files."""
        write_atomic(self.folder.path / f"{name}.json", (json.dumps(told, indent=1) + "\n").encode())

    def _checked(self, status: Status) -> Status:
        """The status without what is damaged on disk; each damage is reported and will be redone."""
        folder = self.folder
        if status.state == "failed" or status.error:
            if status.error == DAMAGED:
                self._notify(f"{self.folder.run_id}: {DAMAGED}; the run is redone")
            _forgive(status, folder, self.planned.run)
        for question in self.asked:
            finished = question.key in status.evaluations
            if finished and (reason := folder.damaged_evaluation(status, question.key)):
                self._notify(f"{folder.run_id}: {reason}; {question.spec.name} is redone")
                status.evaluations.remove(question.key)
                status.took.pop(question.key, None)
        needed = {question.moment for question in self.asked if question.key not in status.evaluations}
        if status.state == "trained" and (
            reason := _damaged_weights(status, folder, self.planned.run, needed)
        ):
            self._notify(f"{folder.run_id}: {reason}; the model is trained again, and evaluated")
            status.state, status.evaluations, status.took = "pending", [], {}
        return status

    def _first_epoch(self, status: Status) -> int:
        """The epoch to go on with; a checkpoint that is damaged, or what was kept before it, is removed."""
        checkpoint = self.folder.checkpoint
        if not checkpoint.exists():
            return 0
        try:
            epochs = read_epoch(checkpoint)
            behind = [moment for moment in self.planned.run.moments if self._is_behind(moment, epochs)]
            if reason := _damaged_weights(status, self.folder, self.planned.run, behind):
                raise CorruptFile(self.folder.path, reason)
        except CorruptFile as error:
            self._notify(f"{error}; training starts over")
            checkpoint.unlink()
            return 0
        return epochs

    def _is_behind(self, moment: Moment, epochs: int) -> bool:
        """Whether a training that goes on after so many epochs does not come to a moment again."""
        if moment.epoch is not None:
            return moment.epoch <= epochs
        return moment.experience is not None and moment.experience * self.planned.run.recipe.epochs < epochs

    def _note_environment(self, dataset: Dataset) -> None:
        path = self.folder.path / "environment.json"
        now = {**environment(str(self.place.device)), "data_sha256": dataset.checksum}
        if self.place.ranks is not None:
            now["ranks"] = self.place.ranks.count
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
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        """Called where all that is needed to go on is stored.

        Raises:
            Stopped: an end was asked for.
        """
        if self.pause():
            raise Stopped

    def _failed(self, status: Status, error: Exception) -> None:
        """Record why the run ended; the traceback is kept beside it."""
        run = self.planned.run
        status.state, status.error = "failed", f"{type(error).__name__}: {error}"
        write_atomic(self._traceback, traceback.format_exc().encode())
        self.folder.write_status(status)
        self.observe(RunFailed(run.run_id, self.planned.label, run.seed, status.error))

    @property
    def _traceback(self) -> Path:
        return self.folder.path / "traceback.txt"

    def _notify(self, text: str) -> None:
        self.observe(Notice(text))


def weights_file(folder: RunFolder, run: Run, moment: Moment) -> Path:
    """The file of a moment's weights; those of the end are the run's model."""
    return folder.model if moment == run.moments[-1] else folder.snapshot(moment)


def try_again(planned: PlannedRun, results: Path) -> None:
    """A run that failed is about to be tried again: until then it is what is there of it, and no failure.

    Otherwise whoever looks at it as a paired baseline takes it that there will be none.
    """
    folder = RunFolder(results, planned.run.run_id)
    if folder.status().state != "failed":
        return
    with folder.lock() as mine:
        if mine and (status := folder.status()).state == "failed":
            _forgive(status, folder, planned.run)
            folder.write_status(status)


def _forgive(status: Status, folder: RunFolder, run: Run) -> None:
    """Make a run that failed, or whose status is damaged, one that goes on from what is there of it."""
    trained = status.state == "failed" and not _damaged_weights(status, folder, run, run.moments)
    status.state, status.error = "trained" if trained else "pending", None


def _damaged_weights(status: Status, folder: RunFolder, run: Run, moments: Iterable[Moment]) -> str | None:
    """What is wrong with the weights of moments, the first thing, or None; the untrained have none."""
    files = sorted(weights_file(folder, run, moment) for moment in moments if moment.experience != 0)
    return next((reason for file in files if (reason := folder.damaged(status, file))), None)


def _lists(value: Any) -> Any:
    """Tuples as lists, for YAML."""
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value
