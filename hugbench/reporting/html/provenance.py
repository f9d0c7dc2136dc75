"""What the numbers rest on: every run, versions and machines, the suite as it was resolved, notes, method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hugbench.reporting.html.elements import Cell, Item, Prose, Section, Source, Table
from hugbench.reporting.html.markup import tag
from hugbench.reporting.html.material import Json, Material
from hugbench.reporting.html.numbers import named
from hugbench.reporting.sheets import legend
from hugbench.reporting.tables import duration
from hugbench.results.measured import Measured

REVISION = 10
"""Characters of a git revision that are shown."""


def notes_section(material: Material) -> Section | None:
    """Sentences that must travel with the numbers, and what could not be read or drawn."""
    told = dict.fromkeys([*material.report.notes, *material.said])
    return Section("Notes", [Prose([f"{note}." for note in told], listed=True)]) if told else None


def method_section(material: Material) -> Section:
    """What intervals, p and verdicts are."""
    primary = [line for line in material.report.contrasts if line.primary]
    told = [
        *legend(replace(material.report, contrasts=tuple(primary))),
        "Every comparison is paired: initialisation, data order and augmentation come from the seed, never "
        "from the criterion.",
        "Models are measured at the end of their training; no epoch is chosen by its test accuracy.",
    ]
    return Section("Method", [Prose(told, listed=True)])


def runs_section(material: Material) -> Section:
    """A row for each run, failed and unfinished ones included; a table for each block of models."""
    blocks = list(dict.fromkeys(run.block for run in material.runs))
    errors = any(run.status.error for run in material.runs)
    columns = ["criterion", "run", "seed", "state", "training time", "device", "revision"]
    items: list[Item] = [Prose([_counted(material.runs)])]
    for block in blocks:
        rows = [_row(run)[: None if errors else -1] for run in material.runs if run.block == block]
        title = named(block) if len(blocks) > 1 else ""
        names = [*columns, "error"] if errors else columns
        items.append(Table(names, rows, words=len(names), title=title))
    return Section("Runs", items)


def _counted(runs: Sequence[Measured]) -> str:
    states = [_state(run) for run in {run.folder.run_id: run for run in runs}.values()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"{len(states)} models: {counts}. Each lies in runs/RUN with its records and predictions."


def _row(run: Measured) -> list[Cell]:
    session = _last_session(run)
    return [
        run.label,
        tag("code", run.folder.run_id),
        str(run.seed),
        _state(run),
        duration(run.status.seconds) if run.status.seconds else "-",
        str(session.get("device", "-")),
        (session.get("git_revision") or "-")[:REVISION],
        run.status.error or "",
    ]


def environment_section(material: Material) -> Section | None:
    """The machines and versions, each once, and which runs they are of."""
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for run in material.runs:
        for session in _sessions(run):
            facts = tuple(sorted(_facts(session).items()))
            found.setdefault(facts, []).append(run.folder.run_id)
    items: list[Item] = []
    total = len({run.folder.run_id for run in material.runs})
    for facts, ids in found.items():
        distinct = list(dict.fromkeys(ids))
        whose = "all runs" if len(distinct) == total else f"{len(distinct)} of {total} runs"
        rows = [[name, value] for name, value in facts]
        items.append(Table(["", whose], rows, words=2))
        if len(distinct) != total:
            items.append(Source("which runs", "\n".join(distinct)))
    return Section("Machines and versions", items) if items else None


def suite_section(material: Material) -> Section:
    """The suite with every default, as YAML."""
    import yaml

    text = yaml.safe_dump(_resolved(material), sort_keys=False, allow_unicode=True, width=100)
    items: list[Item] = [Source("the suite with every default, YAML", text)]
    try:
        items.insert(
            0, Source(f"the suite as it was written: {material.source.name}", material.source.read_text())
        )
    except (OSError, UnicodeDecodeError):
        items.append(Prose([f"The suite's file {material.source} cannot be read."]))
    if material.settings:
        items.append(Prose(["Overridden: ", tag("code", " ".join(material.settings))]))
    return Section("Suite", items)


def _resolved(material: Material) -> Json:
    """What is the same in all runs once, and what each criterion has of its own."""
    arms: dict[str, dict[str, Any]] = {}
    for run in material.runs:
        found = {k: v for k, v in run.specification().items() if k not in ("run_id", "seed", "spec_version")}
        name = " · ".join(part for part in (run.label, *run.block) if part)
        arms.setdefault(name, found)
    sections = list(next(iter(arms.values()))) if arms else []
    common = {
        section: next(iter(arms.values()))[section]
        for section in sections
        if all(arm[section] == next(iter(arms.values()))[section] for arm in arms.values())
    }
    plan = material.plan
    return {
        "suite": plan.suite,
        "baseline": plan.baseline,
        "seeds": list(plan.seeds),
        "evaluations": [
            {spec.name: _plain(spec.values()), "evaluate_after": spec.after} for spec in plan.evaluations
        ],
        **_plain(common),
        "models": {
            name: _plain({key: value for key, value in arm.items() if key not in common})
            for name, arm in arms.items()
        },
    }


def _plain(value: Any) -> Any:
    """Data that YAML writes without tags or anchors."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _state(run: Measured) -> str:
    if run.status.state == "trained":
        return "evaluations missing" if run.status.lacks(list(run.questions)) else "done"
    return run.status.state


def _sessions(run: Measured) -> list[Json]:
    import json

    try:
        found = json.loads((run.folder.path / "environment.json").read_text())
    except (OSError, ValueError):
        return []
    sessions = found.get("sessions", []) if isinstance(found, dict) else []
    return [session for session in sessions if isinstance(session, dict)]


def _last_session(run: Measured) -> Json:
    return next(reversed(_sessions(run)), {})


FACTS = ("device_name", "threads", "ranks", "cores", "platform", "python", "git_revision", "data_sha256")
"""What is shown of a session; `ranks` only where several processes trained a run."""


def _facts(session: Json) -> dict[str, str]:
    """A session in words, without when it was."""
    facts = {name.replace("_", " "): str(session[name]) for name in FACTS if session.get(name) is not None}
    packages = session.get("packages") or {}
    return {**facts, "packages": ", ".join(f"{name} {version}" for name, version in packages.items())}
