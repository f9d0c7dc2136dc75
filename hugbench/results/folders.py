"""Runs as their folders tell of them, without a suite; and what sets runs from several places apart."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from hugbench import registry
from hugbench.results.cells import named
from hugbench.results.measured import Measured, Specification
from hugbench.results.store import RunFolder
from hugbench.suite import plugins
from hugbench.suite.continual import ContinualSpec
from hugbench.suite.nodes import Node

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
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            notes.append(f"{path}: its run.yaml cannot be read ({type(error).__name__}); it is left out")
    labels = _evaluation_labels(run.status.evaluations for run in runs)
    return [replace(run, questions=named) for run, named in zip(runs, labels, strict=True)], notes


def _read(path: Path) -> Measured:
    text = (path / "run.yaml").read_text()
    own = {name: value for name, value, _ in _OF_ONE_RUN.findall(text)}
    specification = _parsed(_OF_ONE_RUN.sub("", text))
    folder = RunFolder(path.parent.parent, path.name)
    folder.path = path
    protocol = specification["protocol"]
    stream = ContinualSpec.model_validate(protocol) if protocol["name"] == "continual" else None
    label = protocol["name"] if stream is None else stream.label
    block = specification["dataset"]["name"], specification["model"]["backbone"], label, ""
    return Measured(
        folder,
        folder.status(),
        specification["criterion"]["name"],
        block,
        int(own["seed"]),
        {},
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


def _evaluation_labels(runs: Iterable[Sequence[str]]) -> list[dict[str, str]]:
    """Label by key, for the keys of each run.

    An evaluation that all were asked with the same arguments is called by its name; where there are
    several, the one with the default arguments is, and the others have their hash beside. The keys of
    evaluations that look at a baseline's run differ from run to run: the first is called by its name.
    """
    asked = [list(keys) for keys in runs]
    bases = dict.fromkeys(key.partition(".")[0] for keys in asked for key in keys)
    hashes: dict[str, list[str]] = defaultdict(list)
    for base in bases:
        name, _, digest = base.rpartition("-")
        hashes[name].append(digest)

    def label(base: str, own: Sequence[str]) -> str:
        name, _, digest = base.rpartition("-")
        if name in registry.PAIRED:
            place = [other for other in own if other.startswith(f"{name}-")].index(base)
            return f"{name}({place + 1})" if place else name
        return name if len(hashes[name]) == 1 or base == _default_key(name) else f"{name}({digest})"

    found = []
    for keys in asked:
        own = list(dict.fromkeys(key.partition(".")[0] for key in keys))
        found.append({key: label(key.partition(".")[0], own) for key in keys})
    return found


@lru_cache(maxsize=64)
def _default_key(name: str) -> str | None:
    """The key of an evaluation that is asked without arguments; None for one that hugbench does not know."""
    if name not in registry.EVALUATIONS:
        return None
    return plugins.evaluation(name, Node(None, name), name).key


def told_apart(runs: Sequence[Measured]) -> tuple[list[Measured], list[str]]:
    """Runs from several places, each once, such that a label is one criterion and a block one setting.

    What differs between runs of a block in data, model or protocol goes into their variant, so that they are
    not compared; what differs between runs of a label in criterion or recipe goes into the label. A field
    that one specification lacks, being older than the field, is no difference.

    Returns:
        The runs, and a sentence for each thing that a reader should know.
    """
    distinct = list({(run.folder.path.resolve(), run.label, run.block): run for run in runs}.values())
    notes = []
    variants: dict[int, str] = {}
    for block, found in _grouped(distinct, lambda run: run.block).items():
        if differing := _differing(found, CONTEXT):
            notes.append(f"runs on {block[0]} differ in {_listed(differing)}: shown apart, not compared")
        for run in found:
            variants[id(run)] = ", ".join(part for part in (block[3], _told(run, differing)) if part)
    apart = [replace(run, block=(*run.block[:3], variants[id(run)])) for run in distinct]
    labels: dict[int, str] = {}
    for (_, label), found in _grouped(apart, lambda run: (run.block, run.label)).items():
        differing = _differing(found, OWN)
        for run in found:
            told = _told(run, differing)
            labels[id(run)] = f"{label}({told})" if told else label
    labelled = [replace(run, label=labels[id(run)]) for run in apart]
    blocks = _grouped(labelled, lambda run: run.block)
    if len(blocks) > 1 and any(len({run.label for run in found}) == 1 for found in blocks.values()):
        listed = "; ".join(named(block) for block in blocks)
        notes.append(
            f"only runs of the same data, model and protocol are compared, and these differ: {listed}"
        )
    for block, found in blocks.items():
        if recipes := _differing(found, ("recipe",)):
            what = f"recipes on {block[0]} differ in {_listed(recipes)}"
            notes.append(f"{what}: a difference is not the criterion's alone")
    return labelled, notes


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
        if len(found) > 1 and name not in _UNTRAINED and not name.endswith(".changed")
    }


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
