"""How far each run of a plan is, who is at it, and how long it may take yet."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hugbench.results.estimate import Estimator
from hugbench.results.lessons import Lesson, epoch_seconds, lesson_of, strangers
from hugbench.results.store import RunFolder, Status
from hugbench.results.traits import Traits, traits_of
from hugbench.suite.plan import Asked, Plan, PlannedRun, Run, asked

TEACHERS = 5
"""Of so many trained runs that are alike, the newest, the logs are read."""

Damage = Callable[[RunFolder, Status, str], str | None]
"""What is wrong with the files of a finished evaluation, by its key; None if nothing is."""


class Found(NamedTuple):
    """A run and how far it is.

    Attributes:
        planned: the run.
        state: done, partly (trained, evaluations missing), training (a checkpoint exists), failed or pending.
        epoch: epochs that are behind it.
        error: why it failed.
        seconds: estimated time left, without that of the evaluations in `untimed`; None while no run like
            it has finished an epoch.
        untimed: names of the evaluations ahead of it that no run like it has had.
        missing: what is still asked of it.
        holder: who is at it; None if nobody is.
        status: what it stored last.
    """

    planned: PlannedRun
    state: str
    epoch: int
    error: str | None
    seconds: float | None
    untimed: tuple[str, ...]
    missing: tuple[Asked, ...]
    holder: str | None
    status: Status


class Survey:
    """The runs of a plan, to be looked at again and again: one that is done is read once.

    Args:
        plan: the plan.
        root: the results folder.
        damage: looks at the files of finished evaluations; by default they are taken to be whole.
    """

    def __init__(
        self,
        plan: Plan,
        root: Path,
        damage: Damage = lambda folder, status, key: None,
    ) -> None:
        self._root, self._damage = root, damage
        traits = _TraitsOfRuns()
        self._states = [
            _State(p, RunFolder(root, p.run.run_id), asked(p, plan.evaluations), traits(p.run))
            for p in plan.distinct()
        ]
        self._lessons: dict[str, tuple[object, Lesson]] = {}
        self._strangers: tuple[Lesson, ...] | None = None
        self._estimator = Estimator()

    def look(self) -> tuple[Found, ...]:
        """Every distinct run, in the plan's order."""
        for state in self._states:
            if not state.over:
                state.refresh(self._damage)
        self._learn()
        return tuple(state.found(self._estimator) for state in self._states)

    def _learn(self) -> None:
        """Take in what has changed of the runs that teach; once other runs, too, if these leave a gap."""
        changed = [
            state
            for state in self._teachers()
            if self._lessons.get(state.folder.run_id, ((),))[0] != state.stamps
        ]
        for state in changed:
            self._lessons[state.folder.run_id] = state.stamps, state.lesson()
        if changed:
            self._estimator = self._taught()
        if self._strangers is None and any(map(self._unknown, self._states)):
            own = {state.folder.run_id for state in self._states}
            self._strangers = tuple(strangers(self._root, own))
            self._estimator = self._taught()

    def _unknown(self, state: _State) -> bool:
        seconds, untimed = state.left(self._estimator)
        return seconds is None or bool(untimed)

    def _teachers(self) -> Iterator[_State]:
        groups: dict[Traits, list[_State]] = {}
        for state in self._states:
            if state.status.state == "trained":
                groups.setdefault(state.traits, []).append(state)
            elif state.epochs:
                yield state
        for group in groups.values():
            yield from sorted(group, key=lambda state: state.stamps)[-TEACHERS:]

    def _taught(self) -> Estimator:
        """An estimator that has all lessons, for runs on the hardware of the newest."""
        lessons = [lesson for _, lesson in self._lessons.values()]
        lessons += self._strangers or ()
        newest = max(lessons, key=lambda lesson: lesson.when, default=None)
        estimator = Estimator(None if newest is None else newest.hardware)
        for lesson in lessons:
            if lesson.epoch is not None:
                estimator.teach_epoch(lesson.of, lesson.hardware, lesson.epoch)
            for key, seconds in lesson.evaluations.items():
                estimator.teach_evaluation(lesson.of, key, lesson.hardware, seconds)
        return estimator


@dataclass
class _State:
    """A run and what was last seen of it: when its status and its log had changed (ns), and what they say."""

    planned: PlannedRun
    folder: RunFolder
    questions: tuple[Asked, ...]
    traits: Traits
    stamps: tuple[int, int] = (0, 0)
    status: Status = field(default_factory=Status)
    epochs: list[float] = field(default_factory=list)
    missing: tuple[Asked, ...] = ()
    holder: str | None = None

    def __post_init__(self) -> None:
        self.keys = [question.key for question in self.questions]
        self.missing = self.questions

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        return self.status.state == "trained" and not self.missing

    def refresh(self, damage: Damage) -> None:
        """Look again."""
        before, self.stamps = self.stamps, (_changed(self.folder.status_file), _changed(self.folder.log))
        if self.stamps[0] != before[0]:
            self.status = self.folder.status()
            finished = set(self.status.evaluations)
            whole = {
                key for key in self.keys if key in finished and not damage(self.folder, self.status, key)
            }
            self.missing = tuple(
                q for q, key in zip(self.questions, self.keys, strict=True) if key not in whole
            )
        if self.stamps[1] != before[1] and self.status.state != "trained":
            self.epochs = epoch_seconds(self.folder.log)
        self.holder = None if self.over else self.folder.worker()

    def lesson(self) -> Lesson:
        """What it teaches."""
        asked_as = {key: q.spec.key for q, key in zip(self.questions, self.keys, strict=True)}
        return lesson_of(self.folder, self.traits, self.status, asked_as)

    def left(self, estimator: Estimator) -> tuple[float | None, tuple[str, ...]]:
        """Estimated seconds, and the evaluations that these are without."""
        seconds, untimed = 0.0, dict[str, None]()
        for question in self.missing:
            took = estimator.evaluation(self.traits, question.spec.key)
            if took is None:
                untimed[question.spec.label] = None
            seconds += took or 0.0
        epochs = self.planned.run.epochs - len(self.epochs)
        if self.status.state == "trained" or epochs <= 0:
            return seconds, tuple(untimed)
        each = statistics.fmean(self.epochs) if self.epochs else estimator.epoch(self.traits)
        return None if each is None else seconds + epochs * each, tuple(untimed)

    def found(self, estimator: Estimator) -> Found:
        """How far it is."""
        state, error, epoch = self.status.state, self.status.error, len(self.epochs)
        if state == "trained":
            error, epoch = None, self.planned.run.epochs
        named = ("partly" if self.missing else "done") if state == "trained" else state
        return Found(
            self.planned, named, epoch, error, *self.left(estimator), self.missing, self.holder, self.status
        )


class _TraitsOfRuns:
    """The traits of a plan's runs, which share the parts of their specifications."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], Traits] = {}

    def __call__(self, run: Run) -> Traits:
        key = tuple(map(id, (run.criterion, run.dataset, run.model, run.protocol, run.recipe)))
        if key not in self._known:
            self._known[key] = traits_of(run.resolved())
        return self._known[key]


def _changed(path: Path) -> int:
    """When a file last changed, in ns; 0 if there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
