"""Criteria and evaluations as a suite names them, resolved and checked without running them.

A criterion is a registered name, `path/to/file.py:Class`, or a dotted path such as
`torch.nn.CrossEntropyLoss` (the only form that has to be imported to be checked).
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, create_model

from hugbench import registry, signatures
from hugbench.errors import UserError, nearest, standing
from hugbench.suite.nodes import Node
from hugbench.suite.sections import validate
from hugbench.types import Frozen


@dataclass(frozen=True)
class CriterionSpec:
    """A criterion and its arguments.

    Attributes:
        name: registered name, or the class name of a loss of one's own.
        kind: registered by name, a file, or a dotted path.
        target: `module:Class`, `file.py:Class` or the dotted path.
        arguments: every argument, defaults included, as canonical JSON.
        changed: the arguments that differ from their defaults, as canonical JSON.
        source_sha256: of the file that defines it, unless that is hugbench's, torch's or timm's.
    """

    name: str
    kind: Literal["registered", "file", "dotted"]
    target: str
    arguments: str
    changed: str
    source_sha256: str | None = None

    def values(self) -> dict[str, Any]:
        """The arguments as keyword arguments."""
        return arguments_of(self.arguments)

    def identity(self) -> dict[str, Any]:
        """What of it changes a trained model."""
        named = self.name if self.kind != "dotted" else self.target
        identity: dict[str, Any] = {"name": named, **json.loads(f'{{"arguments":{self.changed}}}')}
        return identity if self.source_sha256 is None else {**identity, "source_sha256": self.source_sha256}


@dataclass(frozen=True)
class EvaluationSpec:
    """An evaluation and its arguments; `key` names its files in a run's folder.

    Attributes:
        name: registered name.
        target: `module:function`.
        arguments: every argument, defaults included, as canonical JSON.
        label: what the suite's records call it: the name, and the arguments where a suite asks twice.
        after: whether it is asked at the run's end only, or at each of its moments.
    """

    name: str
    target: str
    arguments: str
    label: str
    after: Literal["last", "each"] = "last"

    @property
    def key(self) -> str:
        """`NAME-HASH`, the hash over the evaluation's arguments (defaults included)."""
        return self.keyed(None)

    def keyed(self, reference: str | None) -> str:
        """The key of an evaluation that looks at a reference run, too, if it is one that does."""
        against = f" against {reference}" if self.paired and reference else ""
        return f"{self.name}-{hashlib.sha256((self.arguments + against).encode()).hexdigest()[:10]}"

    @property
    def paired(self) -> bool:
        """Whether it looks at the paired baseline's model, too."""
        return self.name in registry.PAIRED

    def values(self) -> dict[str, Any]:
        """The arguments as keyword arguments."""
        return arguments_of(self.arguments)


def criterion(name: str, arguments: Node, where: str, folder: Path) -> CriterionSpec:
    """The criterion `name` with `arguments` (a mapping node, or null for none).

    Raises:
        UserError: no such criterion, or arguments that it does not take.
    """
    filled = arguments if arguments.value is not None else arguments.with_value({})
    if ".py:" in name:
        file, _, cls = name.rpartition(":")
        path = Path(file) if Path(file).is_absolute() or not (folder / file).exists() else folder / file
        if not path.is_file():
            raise UserError(
                "no such file", where=where, key="criteria", found=file, expected="path/to/loss.py:ClassName"
            )
        signature = signatures.signature(f"{path}:{cls}")
        values = checked(filled, signature.schema, cls)
        return CriterionSpec(cls, "file", f"{path.resolve()}:{cls}", *values, signature.source_sha256)
    table = registry.criteria()
    if "." in name and name not in table:
        found = _dotted_class(name, where)
        values = checked(filled, _dotted_schema(found), name)
        return CriterionSpec(name.rpartition(".")[2], "dotted", name, *values, _source_sha256(found))
    target = registry.lookup("criterion", table, name, where, "criteria")
    signature = signatures.signature(target)
    source = None if name in registry.CRITERIA else signature.source_sha256
    return CriterionSpec(name, "registered", target, *checked(filled, signature.schema, name), source)


def evaluation(name: str, arguments: Node, where: str) -> EvaluationSpec:
    """The evaluation `name` with `arguments`.

    Raises:
        UserError: no such evaluation, or arguments that it does not take.
    """
    target = registry.lookup("evaluation", registry.EVALUATIONS, name, where, "evaluations")
    filled = arguments if arguments.value is not None else arguments.with_value({})
    spec = EvaluationSpec(name, target, checked(filled, signatures.signature(target).schema, name)[0], name)
    if name in registry.ARGUMENT_CHECKS:
        with standing(filled.where or where):
            registry.load_target(registry.ARGUMENT_CHECKS[name])(**spec.values())
    return spec


def check_weights(spec: CriterionSpec, label: str, where: str) -> None:
    """See that a criterion can be given a recipe's class weights.

    Raises:
        UserError: it takes none, or weighs the classes itself.
    """
    weighting = _weighting(spec)
    if weighting == "recipe":
        return
    table = registry.criteria()
    able = [name for name in sorted(table) if signatures.signature(table[name]).weighting == "recipe"]
    raise UserError(
        f"{label} weighs the classes itself, and would weigh them twice"
        if weighting == "own"
        else f"{label} takes no class weights: its loss declares no part of each class that they could weigh",
        where=where,
        key="recipe.class_weights",
        expected=f"class_weights: null in its own recipe; those that take them are {', '.join(able)}",
    )


def _weighting(spec: CriterionSpec) -> str:
    """`recipe`, `own` or `none`, as the criterion says of itself."""
    if spec.kind == "dotted":
        module, _, name = spec.target.rpartition(".")
        return str(getattr(getattr(importlib.import_module(module), name), "weighting", "none"))
    return signatures.signature(spec.target).weighting


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def checked(node: Node, schema: type[BaseModel], name: str) -> tuple[str, str]:
    """All arguments, and those that differ from their defaults, as canonical JSON.

    A default that is no data, as a class of someone else's may have, is left to the class.

    Raises:
        UserError: unknown, missing or wrong arguments.
    """
    spec = validate(node, schema, name)
    whole = {key: value for key, value in spec.model_dump().items() if _plain(value)}
    return canonical(whole), canonical(spec.model_dump(exclude_defaults=True))


def _dotted_class(path: str, where: str) -> type:
    """The class that a dotted path names, imported."""
    module, _, name = path.rpartition(".")
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", path):
        raise UserError(
            "not a dotted path", where=where, key="criteria", found=path, expected="package.module.Class"
        )
    try:
        home = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever a module of someone else's does when imported
        absent = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        told = "no such module" if absent else f"cannot be imported ({type(error).__name__}: {error})"
        raise UserError(
            told, where=where, key="criteria", found=module, expected="an installed module"
        ) from error
    found = getattr(home, name, None)
    if not inspect.isclass(found):
        classes = [key for key, value in vars(home).items() if inspect.isclass(value)]
        raise UserError(
            "no such class", where=where, key="criteria", found=path, nearest=nearest(name, classes)
        )
    return found


def _dotted_schema(found: type) -> type[BaseModel]:
    """The schema of a class's keyword arguments (none with a leading underscore), as its signature tells."""
    try:
        parameters = list(inspect.signature(found).parameters.values())
    except (TypeError, ValueError):  # a class written in C
        parameters = []
    fields = {}
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.name in signatures.HEAD_ARGUMENTS or parameter.name.startswith("_"):
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (Any, default)
    return create_model(found.__name__, __base__=Frozen, **fields)  # type: ignore[call-overload, no-any-return]


def _plain(value: object) -> bool:
    """Whether a value can stand in a suite."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _plain(item) for key, item in value.items())
    if isinstance(value, tuple | list):
        return all(_plain(item) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str)


def _source_sha256(found: type) -> str | None:
    """Hash of the file that defines a class; None where torch or timm does, or no Python file."""
    if found.__module__.partition(".")[0] in {"torch", "timm", "hugbench"}:
        return None
    try:
        return hashlib.sha256(Path(inspect.getfile(found)).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return None


def arguments_of(text: str) -> dict[str, Any]:
    """Keyword arguments from their canonical JSON; lists become the tuples they were."""
    return {key: _tuples(value) for key, value in json.loads(text).items()}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
