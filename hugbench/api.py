"""The verbs, as functions. The command line is these functions and nothing more."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hugbench.data import catalogue
from hugbench.errors import UserError, standing
from hugbench.execution.control import Control
from hugbench.execution.events import Notice, SuiteStarted
from hugbench.execution.processes import processes
from hugbench.execution.where import Serial, Where
from hugbench.execution.where import executor as executor_of
from hugbench.registry import load_target
from hugbench.results.cards import collect_cards
from hugbench.results.measured import each_record, planned_runs, records_of
from hugbench.results.notes import notes_of
from hugbench.results.pending import with_work
from hugbench.results.store import RunFolder, keeping, writable
from hugbench.storage import sweep
from hugbench.suite.continual import ContinualSpec, class_sets
from hugbench.suite.loader import Suite, load_suite
from hugbench.suite.plan import Plan, PlannedRun, Run, make_plan
from hugbench.suite.plan import smoke as make_smoke

if TYPE_CHECKING:
    from hugbench.execution.events import Observer
    from hugbench.execution.schedule import Tally
    from hugbench.results.comparison import Comparison
    from hugbench.results.progress import Found
    from hugbench.training.ranks import Ranks

WATCH_SECONDS = 2.0
"""How often `watch` looks."""

SMOKE_FOLDER = "smoke"


@dataclass(frozen=True)
class PlanEntry:
    """A run of a plan and how far it is.

    Attributes:
        planned: the run, its label and variant.
        state: done, partly (trained, evaluations missing), training (a checkpoint exists), failed or pending.
        epoch: epochs that are behind it.
        error: why it failed.
        seconds: estimated time left, without the evaluations in `untimed`; None while no run like it has
            finished an epoch.
        untimed: names of the evaluations ahead of it that no run like it has had.
        holder: who is at it at this moment, as `process 7 on a-host`; None if nobody is.
    """

    planned: PlannedRun
    state: str
    epoch: int
    error: str | None
    seconds: float | None
    untimed: tuple[str, ...] = ()
    holder: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A flat dict."""
        run = self.planned.run
        return {
            "run_id": run.run_id,
            "criterion": self.planned.label,
            "dataset": run.dataset.name,
            "backbone": run.model.backbone,
            "protocol": run.protocol.label,
            "variant": self.planned.variant,
            "seed": run.seed,
            "state": self.state,
            "epoch": self.epoch,
            "epochs": run.epochs,
            "error": self.error,
            "seconds_left": self.seconds,
            "untimed": list(self.untimed),
            "holder": self.holder,
        }


@dataclass(frozen=True)
class PlanReport:
    """What would run, what is done, and how long the rest may take.

    Attributes:
        plan: the plan.
        entries: its runs.
        seconds: until the last run ends if `workers` are at a time, without the evaluations that
            `untimed` names; None where nothing is known of a run's speed.
        workers: runs at a time.
    """

    plan: Plan
    entries: tuple[PlanEntry, ...]
    seconds: float | None
    workers: int = 1

    @property
    def over(self) -> bool:
        """Whether every run is done, or failed and in nobody's hands."""
        return all(entry.state in ("done", "failed") and entry.holder is None for entry in self.entries)

    @property
    def untimed(self) -> tuple[str, ...]:
        """Names of the evaluations that `seconds` is without, since no run like these has had them."""
        return tuple(dict.fromkeys(name for entry in self.entries for name in entry.untimed))

    def counts(self) -> dict[str, int]:
        """How many runs are in each state."""
        return dict(Counter(entry.state for entry in self.entries))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "suite": self.plan.suite,
            "baseline": self.plan.baseline,
            "counts": self.counts(),
            "seconds_left": self.seconds,
            "untimed": list(self.untimed),
            "workers": self.workers,
            "runs": [entry.to_json() for entry in self.entries],
        }


@dataclass(frozen=True)
class Outcome:
    """What a suite came to.

    Attributes:
        plan: what was asked.
        comparison: every criterion against the baseline.
        done: ids of the runs that are complete.
        failed: error of each run that failed, by id.
        notes: sentences that belong to the numbers, each once.
        folder: where everything lies.
        pictures: files that show the features, where the suite asks for collapse in two dimensions.
        stopped: why it ended before all was done (interrupted, time limit, max runs, a baseline is not
            trained); None if it did not.
    """

    plan: Plan
    comparison: Comparison
    done: tuple[str, ...]
    failed: Mapping[str, str]
    notes: tuple[str, ...]
    folder: Path
    pictures: tuple[Path, ...] = ()
    stopped: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "suite": self.plan.suite,
            "results": str(self.folder),
            "done": list(self.done),
            "failed": dict(self.failed),
            "notes": list(self.notes),
            "stopped": self.stopped,
            "pictures": [str(path) for path in self.pictures],
            "comparison": self.comparison.to_json(),
        }


def validate(
    suite: str | Path,
    *,
    settings: Iterable[str] = (),
    seeds: Iterable[int] | None = None,
    criteria: Iterable[str] = (),
    data: str | Path | None = None,
) -> Suite:
    """Check a suite and return it. Nothing is run, downloaded or written.

    Args:
        suite: a YAML file, or the name of a shipped suite.
        settings: overrides, each `path=value`.
        seeds: instead of the suite's.
        criteria: criteria to add, by name, dotted path or `file.py:Class`.
        data: the data folder; HUGBENCH_DATA or `data` by default.

    Raises:
        UserError: the first thing that is wrong.
    """
    loaded = load_suite(suite, settings=settings, seeds=seeds, criteria=criteria)
    root = data_folder(data)
    for dataset in loaded.datasets:
        catalogue.check(dataset.spec.name, root, where=dataset.node.at(("name",)).mark)
        catalogue.check_tail(dataset.spec, root, where=dataset.node.at(("long_tail",)).where)
    for protocol in loaded.protocols:
        if isinstance(protocol.spec, ContinualSpec):
            for dataset in loaded.datasets:
                with standing(protocol.node.where):
                    class_sets(protocol.spec, catalogue.class_count(dataset.spec.name, root), loaded.seeds[0])
    return loaded


def plan(
    suite: str | Path,
    *,
    settings: Iterable[str] = (),
    seeds: Iterable[int] | None = None,
    criteria: Iterable[str] = (),
    data: str | Path | None = None,
    results: str | Path = "results",
    smoke: bool = False,
    workers: int | None = None,
) -> PlanReport:
    """What a suite would run, what of it is done, and an estimate of the time.

    The estimate comes from the finished epochs and evaluations of like runs in the results folder
    (`hugbench.results.estimate`).

    Args:
        suite: a YAML file, or the name of a shipped suite.
        settings: overrides, each `path=value`.
        seeds: instead of the suite's.
        criteria: criteria to add, by name, dotted path or `file.py:Class`.
        data: the data folder; HUGBENCH_DATA or `data` by default.
        results: the results folder.
        smoke: the suite's smoke run.
        workers: runs at a time, for the estimate; by default as many as are under way, or one.

    Raises:
        UserError: as `validate`.
    """
    reports = watch(
        suite,
        settings=settings,
        seeds=seeds,
        criteria=criteria,
        data=data,
        results=results,
        smoke=smoke,
        workers=workers,
    )
    return next(reports)


def status(suite: str | Path, **options: Any) -> PlanReport:
    """How far a suite is: the same as `plan`, told run by run. Takes the same options."""
    return plan(suite, **options)


def watch(
    suite: str | Path,
    *,
    settings: Iterable[str] = (),
    seeds: Iterable[int] | None = None,
    criteria: Iterable[str] = (),
    data: str | Path | None = None,
    results: str | Path = "results",
    smoke: bool = False,
    workers: int | None = None,
    every: float = WATCH_SECONDS,
) -> Iterator[PlanReport]:
    """How far a suite is, again and again, until every run is done or has failed.

    Args:
        suite, settings, seeds, criteria, data, results, smoke, workers: as `plan` takes them.
        every: seconds between two looks.

    Raises:
        UserError: as `validate`.
    """
    if workers is not None and workers < 1:
        raise UserError("not a number of workers", where="--workers", found=workers, expected="1 or more")
    loaded = validate(suite, settings=settings, seeds=seeds, criteria=criteria, data=data)
    made, root = planned(loaded, data, Path(results), smoke)
    from hugbench.results.progress import Survey

    survey = Survey(made, root)
    while not (report := _report(made, survey.look(), workers)).over:
        yield report
        time.sleep(every)
    yield report


def run(
    suite: str | Path,
    *,
    settings: Iterable[str] = (),
    seeds: Iterable[int] | None = None,
    criteria: Iterable[str] = (),
    data: str | Path | None = None,
    results: str | Path = "results",
    device: str = "auto",
    smoke: bool = False,
    track: Iterable[str] = (),
    executor: str | Where | None = None,
    max_runs: int | None = None,
    time_limit: float | None = None,
    verify: bool = False,
    observer: Observer = lambda event: None,
) -> Outcome:
    """Run what is missing of a suite, and compare.

    In processes that torchrun started, each of which calls this, every model is trained by all of them
    together; the first does the rest, and all return what it does.

    Args:
        suite: a YAML file, or the name of a shipped suite.
        settings: overrides, each `path=value`.
        seeds: instead of the suite's.
        criteria: criteria to add, by name, dotted path or `file.py:Class`.
        data: the data folder; HUGBENCH_DATA or `data` by default.
        results: the results folder; finished runs in it are not repeated.
        device: auto, cpu, cuda, cuda:N or mps.
        smoke: the same suite with a sliver of data, one epoch and one seed, in `results/smoke`.
        track: log to tensorboard (in `results/tensorboard`), wandb or mlflow as well.
        executor: where runs happen: serial, local, ray or slurm, or one of `hugbench.execution.where`
            with its options; HUGBENCH_EXECUTOR or local by default.
        max_runs: take up at most so many of the runs that are not finished.
        time_limit: seconds after which all stops at the next checkpoint.
        verify: read every file of the finished evaluations again; otherwise only those whose size or time
            of change is not what it was when they were written, and the records, which are read anyway.
            Weights are looked at where an evaluation needs them.
        observer: is called with every event of `hugbench.execution.events`.

    Raises:
        UserError: bad input; nothing was started.
        RankFailed: of several processes one failed on its own, or was lost.
    """
    if max_runs is not None and max_runs < 1:
        raise UserError("not a number of runs", where="--max-runs", found=max_runs, expected="1 or more")
    if time_limit is not None and not time_limit > 0:
        raise UserError("no time", where="--time-limit", found=time_limit, expected="a time above 0")
    where = executor if isinstance(executor, Where) else executor_of(executor)

    def drive(ranks: Ranks | None = None) -> Outcome:
        loaded = validate(suite, settings=settings, seeds=seeds, criteria=criteria, data=data)
        made, root = planned(loaded, data, Path(results), smoke)
        with ExitStack() as stack:
            stack.enter_context(keeping(root))
            told = observer
            if wanted := list(track):
                from hugbench.execution.tracking import tracked

                told = stack.enter_context(tracked(wanted, made, root, observer))
            control = Control(time_limit)
            stack.enter_context(control.listening(lambda sentence: told(Notice(sentence))))
            stopped = _carry_out(
                made, data_folder(data), root, device, where, control, max_runs, verify, told, ranks
            )
        return replace(_outcome(made, root), stopped=stopped)

    if (count := processes().count) == 1:
        return drive()
    if not isinstance(where, Serial):
        raise UserError(
            f"{count} processes train one run after the other, together",
            where="--executor",
            found=where.name,
            expected="serial",
        )
    from hugbench.execution.together import on_all_ranks

    return on_all_ranks(device, drive)


def records(
    suite: str | Path,
    *,
    settings: Iterable[str] = (),
    seeds: Iterable[int] | None = None,
    criteria: Iterable[str] = (),
    data: str | Path | None = None,
    results: str | Path = "results",
    smoke: bool = False,
) -> list[dict[str, Any]]:
    """The flat table of what a suite has measured so far: one dict per number.

    Records that do not match their checksum are left out; `run` reports them and measures again.

    Raises:
        UserError: as `validate`.
    """
    loaded = validate(suite, settings=settings, seeds=seeds, criteria=criteria, data=data)
    made, root = planned(loaded, data, Path(results), smoke)
    return records_of(planned_runs(made, root), made.baseline)[0]


def cards(
    suite: str | Path,
    *,
    settings: Iterable[str] = (),
    seeds: Iterable[int] | None = None,
    criteria: Iterable[str] = (),
    data: str | Path | None = None,
    results: str | Path = "results",
    smoke: bool = False,
) -> list[dict[str, Any]]:
    """The reliability card of every adversarial figure that a suite has measured so far.

    Each is a dict: whose figure it is (run_id, criterion, seed, evaluation and so on), norm, eps, the
    number of images it was examined on, the verdict and the checks. Cards that do not match their
    checksum are left out; `run` reports them and measures again.

    Raises:
        UserError: as `validate`.
    """
    loaded = validate(suite, settings=settings, seeds=seeds, criteria=criteria, data=data)
    made, root = planned(loaded, data, Path(results), smoke)
    return collect_cards(made, root)[0]


def export(
    run_id: str,
    directory: str | Path,
    *,
    moment: str | None = None,
    data: str | Path | None = None,
    results: str | Path = "results",
    notify: Callable[[str], None] = lambda sentence: None,
) -> Path:
    """Write a run's classifier to a folder of its own: weights, configuration, model card.

    `Classifier.load(directory)` reads it, and timm reads `directory/backbone` (a default stem's).

    Args:
        run_id: as `status` shows it.
        directory: new or empty.
        moment: a kept moment before the end, such as experience-3 or epoch-10.
        data: the data folder; names of classes and the images' size come from there.
        results: the results folder.
        notify: is called with a sentence if images must be decoded first.

    Returns:
        The folder.

    Raises:
        UserError: no such run or moment, the run is not trained, or the folder is not empty.
        CorruptFile: the weights are damaged.
    """
    from hugbench.execution.export import export_run

    target = Path(directory)
    return export_run(run_id, target, Path(results), data_folder(data), moment=moment, notify=notify)


def data_folder(data: str | Path | None) -> Path:
    """The data folder: the argument, else HUGBENCH_DATA, else `data`."""
    return Path(data or os.environ.get("HUGBENCH_DATA") or "data")


def planned(loaded: Suite, data: str | Path | None, results: Path, smoke: bool) -> tuple[Plan, Path]:
    """The plan of a suite or of its smoke run, and the folder of its results."""
    made = make_plan(loaded)
    if not smoke:
        return made, results
    classes = {d.spec.name: catalogue.class_count(d.spec.name, data_folder(data)) for d in loaded.datasets}
    return make_smoke(made, classes), results / SMOKE_FOLDER


def _report(made: Plan, found: Sequence[Found], workers: int | None) -> PlanReport:
    from hugbench.results.order import makespan

    entries = tuple(PlanEntry(*run[:6], holder=run.holder) for run in found)
    at_a_time = workers or max(1, sum(entry.holder is not None for entry in entries))
    left = [entry.seconds for entry in entries if entry.state != "done"]
    known = [seconds for seconds in left if seconds is not None]
    return PlanReport(
        made, entries, makespan(known, at_a_time) if len(known) == len(left) else None, at_a_time
    )


def _carry_out(
    made: Plan,
    data: Path,
    root: Path,
    device: str,
    where: Where,
    control: Control,
    max_runs: int | None,
    verify: bool,
    observer: Observer,
    ranks: Ranks | None,
) -> str | None:
    """Train and evaluate what is missing; why that ended early. Imports torch only if something is."""
    from hugbench.results.order import longest_first
    from hugbench.results.progress import Survey

    writable(root)
    found = Survey(made, root, partial(RunFolder.damaged_evaluation, thorough=verify)).look()
    sweep(root / "suites" / made.suite)
    pending = [run.planned for run in longest_first(with_work(found, root))]
    if not pending:
        observer(SuiteStarted(made.suite, len(found), 0, str(root)))
        return None
    from hugbench.execution.device import find_device
    from hugbench.execution.place import Place
    from hugbench.execution.preparation import check
    from hugbench.execution.run import try_again
    from hugbench.execution.schedule import Work

    own = None if ranks is None else ranks.device
    place = Place(data, root, own or find_device(device), ranks)
    count = where.ranks if ranks is None else ranks.count
    threads = {
        likeness: check(planned.run, made.evaluations, place.data, lambda text: observer(Notice(text)), count)
        for likeness, planned in {_checked(planned.run): planned for planned in pending}.items()
    }
    if place.device.type != "cpu":
        threads = {}
    chosen = pending[:max_runs]
    references = {planned.reference.run_id for planned in chosen if planned.reference is not None}
    for planned in chosen:
        if planned.run.run_id in references:
            try_again(planned, root)
    by_run = {p.run.run_id: threads.get(_checked(p.run), 1) for p in chosen}
    work = Work(tuple(chosen), made.evaluations, place, by_run)
    observer(SuiteStarted(made.suite, len(found), len(chosen), str(root), where.at_once(work)))
    tally: Tally = load_target(where.target)(where, work, control, observer)
    if tally.left and control.why:
        return control.why
    if len(chosen) < len(pending):
        return "max runs"
    return "a baseline is not trained" if tally.left else None


def _checked(run: Run) -> tuple[object, ...]:
    """What of a run `hugbench.execution.preparation.check` looks at."""
    stream = isinstance(run.protocol, ContinualSpec)
    recipe, seed = run.recipe, run.seed if stream else None
    asked = recipe.batch_size, recipe.drop_last, recipe.augment.random_resized_crop is None
    return run.criterion, run.dataset, run.model, run.protocol, asked, seed


def _outcome(made: Plan, root: Path) -> Outcome:
    from hugbench.reporting.pictures import collapse_pictures
    from hugbench.results.comparison import compare_records

    runs = planned_runs(made, root)
    damaged: dict[str, None] = {}
    rows = each_record(runs, made.baseline, damaged)
    comparison = compare_records(rows, made.baseline, criteria=made.labels, seeds=made.seeds)
    distinct = {run.folder.run_id: run for run in runs}
    failed = {
        run_id: run.status.error or "unknown"
        for run_id, run in distinct.items()
        if run.status.state == "failed"
    }
    done = tuple(run_id for run_id, run in distinct.items() if not run.status.lacks([*run.questions]))
    notes = (*damaged, *notes_of(runs))
    try:
        pictures = tuple(collapse_pictures(made, root))
    except OSError as error:
        pictures, notes = (), (*notes, f"the pictures could not be written ({error.strerror})")
    return Outcome(made, comparison, done, failed, notes, root, pictures)
