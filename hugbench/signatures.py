"""What a plug-in takes, read from its source without importing it.

The keyword-only arguments of a criterion's constructor or of an evaluation are its schema in a
suite. They are read with `ast`, so planning and validating never import torch, and a loss of
one's own is checked before its code runs.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import itertools
import types as python_types
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import BaseModel, PydanticUserError, create_model

from hugbench import types
from hugbench.errors import UserError, nearest
from hugbench.types import Frozen

HEAD_ARGUMENTS = {"self", "in_features", "num_classes"}

_NAMESPACE: dict[str, Any] = {
    **{name: value for name, value in vars(types).items() if not name.startswith("_")},
    **{kind.__name__: kind for kind in (bool, int, float, str, tuple, list, dict)},
    "Literal": Literal,
    "Optional": Optional,
    "Union": Union,
    "Annotated": Annotated,
    "__builtins__": {},
}
_HARMLESS = (
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.Subscript,
    ast.Tuple,
    ast.List,
    ast.BinOp,
    ast.BitOr,
    ast.UnaryOp,
    ast.USub,
)


@dataclass(frozen=True)
class Argument:
    """One keyword-only argument: name, annotation as written, default as written (None: required)."""

    name: str
    annotation: str
    default: str | None


@dataclass(frozen=True)
class Signature:
    """A plug-in as its source tells it.

    Attributes:
        name: of the class or function.
        doc: its docstring.
        arguments: keyword-only arguments in order.
        schema: a frozen pydantic model of the arguments.
        file: where it is defined.
        line: and at which line.
        source_sha256: of the whole file.
        weighting: of a criterion, see `hugbench.criteria.base.Criterion`; `none` of all else.
    """

    name: str
    doc: str
    arguments: tuple[Argument, ...]
    schema: type[BaseModel]
    file: Path
    line: int
    source_sha256: str
    weighting: str = "none"


@dataclass(frozen=True)
class _Module:
    """A file of Python; `package` is where its relative imports start, empty for a file by path."""

    path: Path
    tree: ast.Module
    sha256: str
    package: str = ""

    def definition(self, name: str) -> ast.ClassDef | ast.FunctionDef | None:
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
                return node
        return None

    def imported(self, name: str) -> str | None:
        """The `module:name` that `name` is imported from, or None; under TYPE_CHECKING counts, too."""
        blocks = [node.body for node in self.tree.body if isinstance(node, ast.If)]
        for node in itertools.chain(self.tree.body, *blocks):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return self._absolute(node, alias.name)
        return None

    def _absolute(self, node: ast.ImportFrom, name: str) -> str | None:
        """What a relative import means, if this is a module of a package."""
        if not node.level:
            return f"{node.module}:{name}"
        package = self.package.split(".")
        if not self.package or node.level > len(package):
            return None
        parts = package[: len(package) - node.level + 1] + ([node.module] if node.module else [])
        return f"{'.'.join(parts)}:{name}"


def signature(target: str) -> Signature:
    """The signature of `package.module:Name` or `path/to/file.py:Name`.

    A name that a module imports from another of its package is read there.

    Raises:
        UserError: no such file, module or name; not Python; an argument without a usable default.
    """
    seen: list[str] = []
    while target not in seen:
        seen.append(target)
        place, _, name = target.rpartition(":")
        path, package = (Path(place), "") if place.endswith(".py") else _module_file(place, target)
        found = _signature(path, package, name, path.stat().st_mtime_ns if path.exists() else 0)
        if isinstance(found, Signature):
            return found
        target = found
    raise UserError("is imported in a circle", key=seen[0], found=" from ".join(seen))


@lru_cache(maxsize=256)
def _signature(path: Path, package: str, name: str, _modified: int) -> Signature | str:
    """The signature of what a file defines, or the place in its package that it is imported from."""
    module = _read(path, package)
    definition = module.definition(name)
    if definition is None:
        origin = module.imported(name)
        if origin is not None and package and _top(origin) == _top(package):
            return origin
        names = [n.name for n in module.tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
        listed = ", ".join(names) or "no class or function is defined there"
        raise UserError(
            f"defines no {name!r}", where=path, expected=f"one of: {listed}", nearest=nearest(name, names)
        )
    of_class = isinstance(definition, ast.ClassDef)
    function = _constructor(module, definition) if isinstance(definition, ast.ClassDef) else definition
    parameters = _parameters(function, of_class) if function is not None else []
    fields = {arg.arg: _field(arg, default, path) for arg, default in parameters}
    try:
        with warnings.catch_warnings(action="ignore"):  # of arguments called json or copy
            schema: type[BaseModel] = create_model(name, __base__=Frozen, **fields)  # type: ignore[call-overload]
    except (NameError, TypeError, ValueError, PydanticUserError) as error:
        where = f"{path}:{definition.lineno}"
        raise UserError(f"takes an argument that a suite cannot name ({error})", where=where) from error
    arguments = tuple(_argument(arg, default) for arg, default in parameters)
    doc = ast.get_docstring(definition) or ""
    weighting = _weighting(module, definition) if isinstance(definition, ast.ClassDef) else "none"
    return Signature(name, doc, arguments, schema, path, definition.lineno, module.sha256, weighting)


def validate_arguments(target: Signature, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with every default filled in.

    Raises:
        pydantic.ValidationError: unknown, missing or wrong arguments.
    """
    return target.schema.model_validate(dict(arguments)).model_dump()


def _module_file(module: str, target: str) -> tuple[Path, str]:
    """The file of a module and the package that its relative imports start from; nothing is imported."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top) if top else None
        for depth in range(len(rest)):
            inner = ".".join([top, *rest[: depth + 1]])
            spec = PathFinder.find_spec(inner, spec.submodule_search_locations) if spec else None
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise UserError("no such module", key=target, found=module, expected="an installed Python module")
    return Path(spec.origin), spec.parent or ""


def _top(target: str) -> str:
    """The top package of `package.module` or `package.module:Name`."""
    return target.partition(":")[0].partition(".")[0]


def _read(path: Path, package: str = "") -> _Module:
    try:
        source = path.read_bytes()
        tree = ast.parse(source, filename=str(path))
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=path, expected="a Python file") from None
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}:{line}" if line else str(path)
        raise UserError(f"is not Python: {getattr(error, 'msg', error)}", where=where) from None
    return _Module(path, tree, hashlib.sha256(source).hexdigest(), package)


def _constructor(module: _Module, definition: ast.ClassDef) -> ast.FunctionDef | None:
    """`__init__` of the class or of the nearest base that is written in Python source."""
    for node in definition.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return node
    for home, parent in _bases(module, definition):
        if (found := _constructor(home, parent)) is not None:
            return found
    return None


def _weighting(module: _Module, definition: ast.ClassDef) -> str:
    """What the class says of `weighting`, or the nearest base if the class has no `forward` of its own."""
    for node in definition.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "weighting":
            value = getattr(node, "value", None)
            return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else "none"
    if any(isinstance(node, ast.FunctionDef) and node.name == "forward" for node in definition.body):
        return "none"
    return next((_weighting(home, parent) for home, parent in _bases(module, definition)), "none")


def _bases(module: _Module, definition: ast.ClassDef) -> Iterator[tuple[_Module, ast.ClassDef]]:
    """The bases of a class that are written in the same file or in hugbench, with where they are."""
    for base in definition.bases:
        if not isinstance(base, ast.Name):
            continue
        parent, home, name = module.definition(base.id), module, base.id
        while parent is None and (origin := home.imported(name)) and _top(origin) == "hugbench":
            place, _, name = origin.rpartition(":")
            home = _read(*_module_file(place, origin))
            parent = home.definition(name)
        if isinstance(parent, ast.ClassDef):
            yield home, parent


def _parameters(function: ast.FunctionDef, of_class: bool) -> list[tuple[ast.arg, ast.expr | None]]:
    """Keyword arguments with their defaults; a class's positional ones, but for the head's, count too."""
    spec = function.args
    keyword = list(zip(spec.kwonlyargs, spec.kw_defaults, strict=True))
    if not of_class:
        return keyword
    positional = [*spec.posonlyargs, *spec.args]
    defaults = [None] * (len(positional) - len(spec.defaults)) + list(spec.defaults)
    pairs = zip(positional, defaults, strict=True)
    return [pair for pair in pairs if pair[0].arg not in HEAD_ARGUMENTS] + keyword


def _argument(arg: ast.arg, default: ast.expr | None) -> Argument:
    annotation = ast.unparse(arg.annotation) if arg.annotation else ""
    return Argument(arg.arg, annotation, None if default is None else ast.unparse(default))


def _field(arg: ast.arg, default: ast.expr | None, path: Path) -> tuple[Any, Any]:
    if default is None:
        return _annotation(arg.annotation), ...
    try:
        return _annotation(arg.annotation), ast.literal_eval(default)
    except ValueError:
        raise UserError(
            "a default that is not a literal",
            where=f"{path}:{default.lineno}:{default.col_offset + 1}",
            key=arg.arg,
            found=ast.unparse(default),
            expected="a number, a string, True, False, None or a tuple of them",
        ) from None


def _annotation(node: ast.expr | None) -> Any:
    """The type an annotation names; anything where it names none that is known here."""
    if node is None:
        return Any
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    if not all(isinstance(part, _HARMLESS) for part in ast.walk(node)):
        return Any
    try:
        found = eval(compile(ast.Expression(node), "<annotation>", "eval"), dict(_NAMESPACE))
    except (NameError, TypeError):
        return Any
    return found if isinstance(found, type | python_types.UnionType) or hasattr(found, "__origin__") else Any
