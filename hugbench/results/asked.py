"""What the evaluations of runs from several places are called: one name for each, and no name for two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from hugbench import registry
from hugbench.results.measured import Measured
from hugbench.suite import plugins
from hugbench.suite.nodes import Node

Questions = Mapping[str, str]
"""Label by key; empty where nobody has named it."""


def asked_alike(runs: Sequence[Measured]) -> list[Measured]:
    """The runs, with evaluations of the same arguments called the same, and of others not.

    The first name that a suite gives counts; without a suite the name is the evaluation's, with the split
    where it is of held-out images. Where a name is of several, that with the default arguments keeps it, and
    the others have their hash beside. The keys of evaluations that look at a baseline's run differ from run
    to run: the first is called by its name.
    """
    names = _names(run.questions for run in runs)
    return [
        replace(
            run,
            questions={
                key: names.get(_base(key)) or label or _by_place(key, run.questions)
                for key, label in run.questions.items()
            },
        )
        for run in runs
    ]


def _names(asked: Iterable[Questions]) -> dict[str, str]:
    """Name by key, moments apart, of the evaluations whose keys tell their arguments."""
    given: dict[str, str] = {}
    for questions in asked:
        for key, label in questions.items():
            if _evaluation(key) not in registry.PAIRED:
                given[_base(key)] = given.get(_base(key)) or label
    for base, label in given.items():
        given[base] = label or _known(_evaluation(base)).get(base, _evaluation(base))
    namesakes: dict[str, list[str]] = {}
    for base, label in given.items():
        namesakes.setdefault(label, []).append(base)
    return {
        base: label
        if len(namesakes[label]) == 1 or _known(_evaluation(base)).get(base) == label
        else f"{label}({base.rpartition('-')[2]})"
        for base, label in given.items()
    }


def _by_place(key: str, own: Questions) -> str:
    name = _evaluation(key)
    place = list(dict.fromkeys(_base(other) for other in own if _evaluation(other) == name)).index(_base(key))
    return f"{name}({place + 1})" if place else name


def _base(key: str) -> str:
    return key.partition(".")[0]


def _evaluation(key: str) -> str:
    return _base(key).rpartition("-")[0]


@lru_cache(maxsize=64)
def _known(name: str) -> dict[str, str]:
    """Name by key of an evaluation with default arguments, and of that on held-out images if there is one."""
    if name not in registry.EVALUATIONS:
        return {}
    default = plugins.evaluation(name, Node(None, name), name)
    if "split" not in default.values():
        return {default.key: name}
    held_out = plugins.evaluation(name, Node({"split": Node("validation", name)}, name), name)
    return {default.key: name, held_out.key: f"{name}(split=validation)"}
