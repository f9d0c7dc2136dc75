"""What there is: `list`, `show`, `schema` and `doctor`; only doctor imports torch."""

from __future__ import annotations

import importlib.metadata
import inspect
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hugbench import registry, signatures
from hugbench.backbones import backbone_names, own_names
from hugbench.data import catalogue
from hugbench.errors import UserError, nearest
from hugbench.suite.baselines import read_baseline, shipped_baselines
from hugbench.suite.loader import load_suite, shipped_suites
from hugbench.suite.nodes import read
from hugbench.suite.protocols import SPECS
from hugbench.suite.strategies import matrix

KINDS = ("criteria", "datasets", "backbones", "evaluations", "protocols", "strategies", "suites")


@dataclass(frozen=True)
class Entry:
    """A thing a suite can name, in a line."""

    kind: str
    name: str
    summary: str


def entries(kind: str | None = None) -> list[Entry]:
    """What a suite can name, an entry for each thing of each kind.

    Args:
        kind: one of `KINDS`; None for all but the backbones, of which timm has over a thousand.

    Raises:
        UserError: no such kind.
    """
    if kind is not None and kind not in KINDS:
        raise UserError(
            "no such kind",
            where="list",
            found=kind,
            expected=f"one of: {', '.join(KINDS)}",
            nearest=nearest(kind, KINDS),
        )
    kinds = [kind] if kind else [name for name in KINDS if name != "backbones"]
    return [Entry(name, *found) for name in kinds for found in _LISTERS[name]()]


def show(name: str) -> dict[str, Any]:
    """All about one criterion, baseline, evaluation, protocol, strategy, data set or suite, as plain data.

    A criterion that is among the shipped baselines has a `baseline`: its tuned arguments and recipe,
    whether they are tuned, citation and notes.

    Raises:
        UserError: nothing is called so; names the nearest.
    """
    for kind, table in (
        ("criterion", registry.criteria()),
        ("evaluation", registry.EVALUATIONS),
        ("strategy", registry.STRATEGIES),
    ):
        if name in table:
            return {"kind": kind, "name": name, **_plugin(table[name]), **_baseline(name, kind)}
    if name in SPECS:
        return {"kind": "protocol", "name": name, **_protocol(name)}
    if name in shipped_baselines():
        return {"kind": "baseline", "name": name, **_baseline(name)}
    if name in catalogue.KNOWN:
        return {"kind": "dataset", "name": name, **catalogue.describe(name)}
    if name in shipped_suites():
        suite = load_suite(name)
        return {"kind": "suite", "name": name, "doc": suite.description, "file": str(suite.source)}
    if name in backbone_names():
        return {"kind": "backbone", "name": name, "doc": f"timm.create_model({name!r})"}
    known = [entry.name for entry in entries()] + list(backbone_names()) + list(shipped_baselines())
    raise UserError(
        "nothing is called so",
        where="show",
        found=name,
        expected="a name that `hugbench list` shows",
        nearest=nearest(name, known),
    )


def strategies() -> list[dict[str, str]]:
    """Every strategy of class-incremental streams: what it does, and what it does with the criterion."""
    summaries = dict(_plugins(registry.STRATEGIES))
    return [{**row, "summary": summaries[row["strategy"]]} for row in matrix()]


def doctor(data: Path) -> dict[str, Any]:
    """Versions, devices, and which data sets are found where.

    Args:
        data: the data folder.
    """
    from hugbench.execution.environment import cpu_name, git_revision, versions

    found = {name: catalogue.find(name, data) for name in catalogue.KNOWN}
    return {
        "python": platform.python_version(),
        "packages": versions(),
        "git_revision": git_revision(),
        "cpu": cpu_name(),
        "devices": _devices(),
        "data": str(data),
        "datasets": {name: str(where) if where else None for name, where in found.items()},
        "disk_free_bytes": shutil.disk_usage(_existing(data)).free,
    }


def _plugin(target: str) -> dict[str, Any]:
    signature = signatures.signature(target)
    return {
        "doc": signature.doc,
        "arguments": [
            {"name": arg.name, "type": arg.annotation, "default": arg.default} for arg in signature.arguments
        ],
        "target": target,
    }


def _baseline(name: str, kind: str = "criterion") -> dict[str, Any]:
    """The shipped baseline of that name, if a criterion has one."""
    file = shipped_baselines().get(name) if kind == "criterion" else None
    if file is None:
        return {}
    found = read_baseline(file)
    text = found.text
    return {
        "baseline": {
            "file": str(file),
            "criterion": text.criterion if isinstance(text.criterion, str) else dict(text.criterion),
            "recipe": text.recipe,
            "tuned": text.tuned,
            "citation": None if text.citation is None else str(text.citation),
            "notes": text.notes.strip(),
        }
    }


def _protocol(name: str) -> dict[str, Any]:
    """What a suite writes under a protocol's name."""
    spec = SPECS[name]
    fields = {field: of for field, of in spec.model_fields.items() if field != "name"}
    told = "\n".join(f"    {field}: {of.description}." for field, of in fields.items())
    arguments = [
        {
            "name": field,
            "type": str(spec.__annotations__[field]),
            "default": None if of.is_required() else repr(of.default),
        }
        for field, of in fields.items()
    ]
    return {"doc": f"{_doc(spec)}\n\nArgs:\n{told}" if told else _doc(spec), "arguments": arguments}


def _doc(spec: type[BaseModel]) -> str:
    return inspect.getdoc(spec) or ""


def _devices() -> list[str]:
    """cpu, and every accelerator that torch can use."""
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return [*found, "mps"] if torch.backends.mps.is_available() else found


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _plugins(table: dict[str, str]) -> list[tuple[str, str]]:
    return [(name, _summary(target)) for name, target in sorted(table.items())]


def _summary(target: str) -> str:
    """The first line of a plug-in's docstring, or why an installed one cannot be read."""
    try:
        return _first_line(signatures.signature(target).doc)
    except UserError as error:
        return f"cannot be used: {error}"


def _first_line(doc: str) -> str:
    return re.sub(r"\s+", " ", doc.partition("\n\n")[0]).strip()


def _home(backbone: str) -> str:
    return "hugbench" if backbone in own_names() else f"timm {importlib.metadata.version('timm')}"


def _suites() -> list[tuple[str, str]]:
    found = []
    for name, path in sorted(shipped_suites().items()):
        description = read(path).at(("description",)).value
        found.append((name, _first_line(description) if isinstance(description, str) else ""))
    return found


_LISTERS = {
    "criteria": lambda: _plugins(registry.criteria()),
    "datasets": lambda: [(name, known.title) for name, known in catalogue.KNOWN.items()],
    "backbones": lambda: [(name, _home(name)) for name in backbone_names()],
    "evaluations": lambda: _plugins(registry.EVALUATIONS),
    "protocols": lambda: [(name, _first_line(_doc(spec))) for name, spec in SPECS.items()],
    "strategies": lambda: _plugins(registry.STRATEGIES),
    "suites": _suites,
}
