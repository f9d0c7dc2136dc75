"""What a comparison is asked of: suites, folders of runs, results folders; before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hugbench import api
from hugbench.errors import UserError
from hugbench.results.folders import folder_runs, is_results, is_run, told_apart
from hugbench.results.measured import Measured, planned_runs
from hugbench.suite.loader import find_suite, load_suite

COMMON = "cross_entropy"
"""The baseline of a results folder, where nobody names one."""


@dataclass(frozen=True)
class Targets:
    """The runs that are compared.

    Attributes:
        sides: one list of runs, or those before and those after.
        baseline: its label, where the targets tell; between two folders what errors are normalised by.
        notes: what a reader should know.
        sources: what was named, and in which folder its runs lie.
    """

    sides: tuple[list[Measured], ...]
    baseline: str | None
    notes: tuple[str, ...]
    sources: Mapping[str, str]


@dataclass(frozen=True)
class _Options:
    """How suites are read."""

    settings: Sequence[str]
    seeds: Sequence[int] | None
    criteria: Sequence[str]
    data: str | Path | None
    smoke: bool


def found_runs(
    targets: Sequence[str | Path],
    results: Sequence[str | Path],
    *,
    settings: Iterable[str],
    seeds: Sequence[int] | None,
    criteria: Iterable[str],
    data: str | Path | None,
    smoke: bool,
) -> Targets:
    """The runs that targets name; see `hugbench.compare`.

    Raises:
        UserError: a target that is none, or targets that do not go together.
    """
    if not targets:
        raise UserError("nothing to compare", expected="a suite, run folders or results folders")
    options = _Options(tuple(settings), seeds, tuple(criteria), data, smoke)
    kinds = [_kind(Path(target)) for target in targets]
    _refuse_misfits(kinds, results, options)
    if kinds == ["results", "results"]:
        return _before_and_after(None, [Path(target) for target in targets], options)
    if len(results) == 2:
        return _before_and_after(targets, [Path(root) for root in results], options)
    return _together(targets, kinds, Path(results[0]), options)


def _kind(target: Path) -> str:
    """suite, run or results.

    Raises:
        UserError: none of them.
    """
    if target.is_dir():
        if is_run(target):
            return "run"
        if is_results(target):
            return "results"
        raise UserError(
            "is no result",
            where=target,
            expected="a suite, the folder of a run (with run.yaml) or a results folder (with runs/)",
        )
    find_suite(target)
    return "suite"


def _refuse_misfits(kinds: Sequence[str], results: Sequence[str | Path], options: _Options) -> None:
    if len(results) > 2 or (len(results) == 2 and set(kinds) != {"suite"}):
        raise UserError(
            "too many results folders",
            where="--results",
            found=", ".join(map(str, results)),
            expected="one, or for suites two: before and after",
        )
    if len(results) == 2 and Path(results[0]).resolve() == Path(results[1]).resolve():
        raise UserError("the same folder twice", where="--results", found=str(results[0]), expected="two")
    for given, option in (
        (options.settings, "--set"),
        (options.criteria, "--criterion"),
        (options.smoke, "--smoke"),
    ):
        if given and "suite" not in kinds:
            raise UserError("belongs to a suite, and none is named", where=option)


def _before_and_after(
    targets: Sequence[str | Path] | None, roots: Sequence[Path], options: _Options
) -> Targets:
    """Of suites, or without any of everything that lies there."""
    notes: list[str] = []
    sides: list[list[Measured]] = []
    baseline = COMMON
    for root in roots:
        if not is_results(root):
            raise UserError("holds no runs", where=root, expected="a results folder (with runs/)")
        if targets is None:
            runs, said = _in_folders(_folders(root), options)
            notes += [f"{root}: {note}" for note in said]
        else:
            suites = [_of_suite(target, root, options) for target in targets]
            runs, baseline = [run for found, _ in suites for run in found], suites[0][1]
        sides.append(runs)
    if targets is None or len(targets) > 1:
        sides, said = told_apart(*sides)
        notes += said
    return Targets(
        tuple(sides), baseline, tuple(notes), dict(zip(("before", "after"), map(str, roots), strict=True))
    )


def _together(targets: Sequence[str | Path], kinds: Sequence[str], root: Path, options: _Options) -> Targets:
    runs: list[Measured] = []
    notes: list[str] = []
    folders: list[Path] = []
    baseline = None
    for target, kind in zip(targets, kinds, strict=True):
        if kind == "suite":
            found, own = _of_suite(target, root, options)
            runs += found
            baseline = baseline or own
        else:
            folders += _folders(Path(target)) if kind == "results" else [Path(target)]
    if folders:
        found, notes = _in_folders(folders, options)
        runs += found
    if folders or len(targets) > 1:
        _refuse_twins(runs)
        (runs,), said = told_apart(runs)
        notes += said
    if baseline is None and runs:
        baseline = COMMON if "results" in kinds else runs[0].label
    sources = {
        str(target): str(root) if kind == "suite" else str(target)
        for target, kind in zip(targets, kinds, strict=True)
    }
    return Targets((runs,), baseline, tuple(notes), sources)


def _of_suite(target: str | Path, root: Path, options: _Options) -> tuple[list[Measured], str]:
    """The runs of a suite, and its baseline's label."""
    loaded = load_suite(target, settings=options.settings, seeds=options.seeds, criteria=options.criteria)
    plan, folder = api.planned(loaded, options.data, root, options.smoke)
    return planned_runs(plan, folder), plan.baseline


def _in_folders(folders: Sequence[Path], options: _Options) -> tuple[list[Measured], list[str]]:
    runs, notes = folder_runs(folders)
    return [run for run in runs if options.seeds is None or run.seed in options.seeds], notes


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in (root / "runs").iterdir() if is_run(path))


def _refuse_twins(runs: Iterable[Measured]) -> None:
    """The same run in two places is before and after, and has to be said so."""
    seen: dict[str, Path] = {}
    for run in runs:
        path = run.folder.path.resolve()
        if seen.setdefault(run.folder.run_id, path) != path:
            raise UserError(
                f"the same run {run.folder.run_id} from two folders",
                found=f"{seen[run.folder.run_id]}, {path}",
                expected="two results folders and nothing else, to compare before with after",
            )
