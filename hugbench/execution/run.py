"""One run: train it or take it up again, then evaluate what is missing."""

from __future__ import annotations

import errno
import json
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from hugbench import registry
from hugbench.data.images import Dataset
from hugbench.errors import CorruptFile, UserError
from hugbench.execution.control import Stopped
from hugbench.execution.environment import environment
from hugbench.execution.events import EpochDone, Notice, Observer, RunDone, RunFailed, RunStarted
from hugbench.execution.measuring import measure, setting
from hugbench.execution.place import Place
from hugbench.execution.preparation import dataset_of, threads_of, untrained
from hugbench.execution.schedule import Result
from hugbench.execution.together import training
from hugbench.models import Classifier, load_weights, save
from hugbench.registry import load_target
from hugbench.results.store import DAMAGED, RunFolder, Status
from hugbench.storage import write_atomic
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
    try:
        with folder.lock() as mine:
            if not mine:
                return "busy"
            return _Work(planned, evaluations, place, folder, observe, pause).finish()
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}:
            raise UserError(
                f"results cannot be written ({error.strerror})",
                where=place.results,
                expected="room on the disk; what is finished is kept, the same command goes on from there",
            ) from error
        raise


@dataclass
class _Work:
    """The steps of one run, under its lock."""

    planned: PlannedRun
    evaluations: tuple[EvaluationSpec, ...]
    place: Place
    folder: RunFolder
    observe: Observer
    pause: Callable[[], bool]

    def finish(self) -> Result:
        run, begun = self.planned.run, time.monotonic()
        status = self._checked(self.folder.status())
        missing = [question for question in self.asked if question.key not in status.evaluations]
        reused = status.state == "trained" and not missing
        try:
            if not reused and not self._work(status, missing):
                return "waiting"
        except Stopped:
            self.folder.write_status(status)
            return "stopped"
        except (UserError, OSError, RankFailed):
            raise
        except Exception as error:
            self._failed(status, error)
            return "failed"
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
        elif any(question.last for question in missing):
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
        status, weights = folder.status(), weights_file(folder, run, moment)
        if status.state != "trained":
            return None
        if moment.experience != 0 and (reason := folder.damaged(status, weights)):
            again = f"without the folder {folder.path} the baseline is trained again"
            raise CorruptFile(weights, f"{reason}; {again}")
        return self._classifier_at(run, moment, dataset)

    def _reference_is_settled(self) -> bool:
        """Whether the paired baseline, if there is one, is trained or has failed."""
        run = self.planned.reference
        if run is None:
            return True
        return RunFolder(self.place.results, run.run_id).status().state in ("trained", "failed")

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
                    keep=self._keep,
                    note=self._note,
                    **together,
                )
        finally:
            status.seconds += time.monotonic() - begun
        status.state = "trained"
        folder.sealed(status, *self._weights())
        folder.write_status(status)
        folder.checkpoint.unlink(missing_ok=True)

    def _keep(self, moment: Moment, classifier: Classifier) -> None:
        """Write the weights of a moment."""
        save(classifier, self._weights_of(moment))

    def _weights_of(self, moment: Moment) -> Path:
        return weights_file(self.folder, self.planned.run, moment)

    def _note(self, name: str, told: Any) -> None:
        """Write what the protocol says of the training beside the run's other files."""
        write_atomic(self.folder.path / f"{name}.json", (json.dumps(told, indent=1) + "\n").encode())

    def _weights(self) -> list[Path]:
        """The files of all moments but the untrained one."""
        return [self._weights_of(moment) for moment in self.planned.run.moments if moment.experience != 0]

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
                status.took.pop(question.key, None)
        if status.state == "trained" and (reason := self._damaged_weights(status)):
            self._notify(f"{folder.run_id}: {reason}; the model is trained again, and evaluated")
            status.state, status.evaluations, status.took = "pending", [], {}
        return status

    def _damaged_weights(self, status: Status) -> str | None:
        """What is wrong with the weights that an unfinished evaluation needs, or None."""
        missing = [question for question in self.asked if question.key not in status.evaluations]
        needed = {question.moment for question in missing if question.moment.experience != 0}
        files = map(self._weights_of, needed)
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
        write_atomic(self.folder.path / "traceback.txt", traceback.format_exc().encode())
        self.folder.write_status(status)
        self.observe(RunFailed(run.run_id, self.planned.label, run.seed, status.error))

    def _notify(self, text: str) -> None:
        self.observe(Notice(text))


def weights_file(folder: RunFolder, run: Run, moment: Moment) -> Path:
    """The file of a moment's weights; those of the end are the run's model."""
    return folder.model if moment == run.moments[-1] else folder.snapshot(moment)


def _lists(value: Any) -> Any:
    """Tuples as lists, for YAML."""
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value
