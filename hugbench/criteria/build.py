"""From a criterion as a suite names it to a live one."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

from torch import nn

from hugbench.criteria.adapt import LogitsLoss
from hugbench.criteria.base import Criterion
from hugbench.errors import UserError
from hugbench.suite.plugins import CriterionSpec


def build_criterion(spec: CriterionSpec, in_features: int, num_classes: int) -> Criterion:
    """The criterion with a head for features of this width and this many classes.

    A class that is no `Criterion` is a loss of `(logits, targets)` and gets a linear head.

    Raises:
        UserError: the class cannot be loaded, is no module, or refuses its arguments.
    """
    found = load_class(spec)
    arguments = spec.values()
    try:
        if issubclass(found, Criterion):
            return found(in_features, num_classes, **arguments)
        return LogitsLoss(in_features, num_classes, loss=found(**arguments))
    except (TypeError, ValueError) as error:
        raise UserError(str(error), key=f"criteria.{spec.name}") from error


def load_class(spec: CriterionSpec) -> type[nn.Module]:
    """The class that a spec names.

    Raises:
        UserError: its module cannot be imported, or it is no `torch.nn.Module`.
    """
    separator = "." if spec.kind == "dotted" else ":"
    place, _, name = spec.target.rpartition(separator)
    try:
        module = _load_file(Path(place)) if spec.kind == "file" else importlib.import_module(place)
        found = getattr(module, name)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"cannot be loaded ({type(error).__name__}: {error})", key=f"criteria.{spec.name}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UserError(
            "is no torch.nn.Module",
            key=f"criteria.{spec.name}",
            found=spec.target,
            expected="a hugbench.Criterion, or a module of (logits, targets)",
        )
    return found


def _load_file(path: Path) -> object:
    """The module of a file, imported afresh under a name of its own."""
    name = f"hugbench_loss_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError("is no Python file", where=path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
