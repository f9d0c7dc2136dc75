"""Runs as their folders tell of them, without a suite; and what sets runs from several places apart."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from hugbench.errors import UserError
from hugbench.results.asked import asked_alike
from hugbench.results.cells import named
from hugbench.results.measured import Measured, Specification
from hugbench.results.store import RunFolder
from hugbench.suite.continual import ContinualSpec

CONTEXT = ("dataset", "model", "protocol")
"""Sections that make runs comparable: where they differ, runs are shown apart."""

OWN = ("criterion", "recipe")
"""Sections in which criteria may differ from each other."""

_UNTRAINED = {"dataset.resident", "recipe.snapshot_every"}
_OF_ONE_RUN = re.compile(r"^(run_id|seed|criterion_as_built): *(.*)\n((?: .*\n)*)", re.MULTILINE)


def is_run(path: Path) -> bool:
    """Whether a folder is one run's."""
    return (path / "run.yaml").is_file() or (path / "status.json").is_file()


def is_results(path: Path) -> bool:
    """Whether a folder holds runs, as `--results` names it."""
    return (path / "runs").is_dir()


def folder_runs(paths: Iterable[Path]) -> tuple[list[Measured], list[str]]:
    """The runs in folders, each under its criterion's name, and a sentence for each that tells nothing."""
    runs, notes = [], []
    for path in paths:
        try:
            runs.append(_read(path))
        except UserError as error:
            notes.append(f"{error}; it is left out")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            notes.append(f"{path}: its run.yaml cannot be read ({type(error).__name__}); it is left out")
    return asked_alike(runs), notes


def specification_in(path: Path) -> tuple[Specification, dict[str, str]]:
    """What a run's folder says of it, and apart from it what is the run's alone, such as its seed.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    text = (path / "run.yaml").read_text()
    own = {name: value for name, value, _ in _OF_ONE_RUN.findall(text)}
    return _parsed(_OF_ONE_RUN.sub("", text)), own


def _read(path: Path) -> Measured:
    specification, own = specification_in(path)
    folder = RunFolder(path.parent.parent, path.name)
    folder.path = path
    status = folder.status()
    protocol = specification["protocol"]
    stream = ContinualSpec.model_validate(protocol) if protocol["name"] == "continual" else None
    label = protocol["name"] if stream is None else stream.label
    block = specification["dataset"]["name"], specification["model"]["backbone"], label, ""
    return Measured(
        folder,
        status,
        specification["criterion"]["name"],
        block,
        int(own["seed"]),
        dict.fromkeys(status.evaluations, ""),
        None if stream is None else stream.experiences,
        lambda: specification,
    )


@lru_cache(maxsize=256)
def _parsed(text: str) -> Specification:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found: Specification = yaml.load(text, loader)
    except yaml.YAMLError as error:
        raise ValueError("no YAML") from error
    return found


def told_apart(*sides: Sequence[Measured]) -> tuple[list[list[Measured]], list[str]]:
    """Runs from several places, each once, such that a label is one criterion and a block one setting.

    What differs between runs of a block in data, model or protocol goes into their variant, so that they are
    not compared; what differs between runs of a label in criterion or recipe goes into the label, unless it
    is the change itself, between before and after. A field that one specification lacks, being older than
    the field, is no difference. Evaluations with other arguments have other names.

    Args:
        sides: one list of runs, or those before and those after.

    Returns:
        The sides, and a sentence for each thing that a reader should know.
    """
    distinct = [
        list({(run.folder.path.resolve(), run.label, run.block): run for run in side}.values())
        for side in sides
    ]
    everything, notes = _blocks_apart(asked_alike([run for side in distinct for run in side]))
    rest = iter(everything)
    labelled = [_labels_apart(list(islice(rest, len(side)))) for side in distinct]
    blocks = _grouped((run for side in labelled for run in side), lambda run: run.block)
    if len(blocks) > 1 and any(len({run.label for run in found}) == 1 for found in blocks.values()):
        listed = "; ".join(named(block) for block in blocks)
        notes.append(
            f"only runs of the same data, model and protocol are compared, and these differ: {listed}"
        )
    for side in labelled:
        for block, found in _grouped(side, lambda run: run.block).items():
            if recipes := _differing(found, ("recipe",)):
                what = f"recipes on {block[0]} differ in {_listed(recipes)}"
                notes.append(f"{what}: a difference is not the criterion's alone")
    if len(sides) > 1:
        notes += _changes(blocks.values())
    return labelled, notes


def _blocks_apart(runs: Sequence[Measured]) -> tuple[list[Measured], list[str]]:
    """The runs, in blocks of the same data, model and protocol, and what these differ in."""
    notes = []
    variants: dict[int, str] = {}
    for block, found in _grouped(runs, lambda run: run.block).items():
        if differing := _differing(found, CONTEXT):
            notes.append(f"runs on {block[0]} differ in {_listed(differing)}: shown apart, not compared")
        for run in found:
            variants[id(run)] = ", ".join(part for part in (block[3], _told(run, differing)) if part)
    return [replace(run, block=(*run.block[:3], variants[id(run)])) for run in runs], notes


def _labels_apart(runs: Sequence[Measured]) -> list[Measured]:
    labels: dict[int, str] = {}
    for (_, label), found in _grouped(runs, lambda run: (run.block, run.label)).items():
        differing = _differing(found, OWN)
        for run in found:
            told = _told(run, differing)
            labels[id(run)] = f"{label}({told})" if told else label
    return [replace(run, label=labels[id(run)]) for run in runs]


def _changes(blocks: Iterable[Sequence[Measured]]) -> list[str]:
    """Sentences on what a criterion and its recipe were before and are after."""
    return [
        f"{label} on {found[0].block[0]} is not the same before and after: {_listed(differing)}"
        for block in blocks
        for label, found in _grouped(block, lambda run: run.label).items()
        if (differing := _differing(found, OWN))
    ]


def _grouped(runs: Iterable[Measured], key: Callable[[Measured], Hashable]) -> dict[Any, list[Measured]]:
    groups: dict[Any, list[Measured]] = defaultdict(list)
    for run in runs:
        groups[key(run)].append(run)
    return groups


def _differing(runs: Iterable[Measured], sections: Sequence[str]) -> dict[str, list[object]]:
    """The fields of some sections in which runs differ, with their values."""
    values: dict[str, dict[str, object]] = defaultdict(dict)
    distinct = {id(found): found for found in [run.specification() for run in runs]}
    for specification in distinct.values():
        for section in sections:
            for name, value in _flat(specification.get(section), section):
                values[name][repr(value)] = value
    return {
        name: list(found.values())
        for name, found in values.items()
        if (len(found) > 1 or _off_elsewhere(name, values))
        and name not in _UNTRAINED
        and not name.endswith(".changed")
    }


def _off_elsewhere(name: str, values: Mapping[str, Mapping[str, object]]) -> bool:
    """Whether a field is of a block, such as class weights, that is null in another specification."""
    parts = name.split(".")
    blocks = (".".join(parts[:count]) for count in range(1, len(parts)))
    return any(repr(None) in values.get(block, ()) for block in blocks)


def _flat(value: Any, name: str) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}")
    else:
        yield name, list(value) if isinstance(value, tuple) else value


def _told(run: Measured, differing: Iterable[str]) -> str:
    """`recipe.lr=0.1, alpha=0.3`: a run's values of the fields that differ, where it has any."""
    sections = (*CONTEXT, *OWN)
    own = dict(pair for name in sections for pair in _flat(run.specification().get(name), name))
    return ", ".join(
        f"{name.removeprefix('criterion.arguments.')}={_short(own[name])}"
        for name in differing
        if own.get(name) is not None
    )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:8]}…"


def _listed(differing: Mapping[str, Sequence[object]]) -> str:
    """`recipe.lr (0.1, 0.2), recipe.epochs (10, 200)`, the first three."""
    told = [f"{name} ({', '.join(map(_short, values[:4]))})" for name, values in differing.items()]
    more = f" and {len(told) - 3} more" if len(told) > 3 else ""
    return ", ".join(told[:3]) + more
