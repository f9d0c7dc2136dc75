"""From a criterion as a suite names it to a live one."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path

import torch
from torch import Tensor, nn

from hugbench.criteria.adapt import LogitsLoss
from hugbench.criteria.base import Criterion
from hugbench.errors import UserError
from hugbench.suite.plugins import CriterionSpec

TRIED = 8
"""Images that a criterion of one's own is tried on before a run."""


def build_criterion(spec: CriterionSpec, in_features: int, num_classes: int) -> Criterion:
    """The criterion with a head for features of this width and this many classes.

    A class that is no `Criterion` is a loss of `(logits, targets)` and gets a linear head. What is
    not hugbench's own is tried on a few images, in a copy, so that what is wrong with it shows
    before anything is trained.

    Raises:
        UserError: the class cannot be loaded, is no module, refuses its arguments, or is no loss.
    """
    found = load_class(spec)
    arguments = spec.values()
    own = not found.__module__.startswith("hugbench.")
    try:
        criterion = (
            found(in_features, num_classes, **arguments)
            if issubclass(found, Criterion)
            else LogitsLoss(in_features, num_classes, loss=found(**arguments))
        )
    except Exception as error:
        if not own and not isinstance(error, TypeError | ValueError):
            raise
        plain = isinstance(error, ValueError) or not own
        told = str(error) if plain else f"cannot be built ({type(error).__name__}: {error})"
        where = _line(error, found) if own else None
        raise UserError(told, where=where, key=f"criteria.{spec.name}") from error
    if own:
        _try_out(criterion, found, f"criteria.{spec.name}")
    return criterion


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
    except (Exception, SystemExit) as error:
        told = f"cannot be loaded ({type(error).__name__}: {error})"
        raise UserError(told, where=_line(error, place), key=f"criteria.{spec.name}") from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UserError(
            "is no torch.nn.Module",
            key=f"criteria.{spec.name}",
            found=spec.target,
            expected="a hugbench.Criterion, or a module of (logits, targets)",
        )
    return found


def _try_out(criterion: Criterion, kind: type[nn.Module], key: str) -> None:
    """Call a copy of the criterion on a few images as training and evaluation will.

    Raises:
        UserError: it raises, or its loss or its logits are not what a criterion's are.
    """
    width, classes = criterion.in_features, criterion.num_classes
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(TRIED, width, generator=generator).requires_grad_()
    targets = torch.arange(TRIED) % classes
    try:
        with torch.random.fork_rng(devices=[]):
            twin = copy.deepcopy(criterion)
            twin.start_training(torch.full((classes,), TRIED))
            twin.start_epoch(0, 1)
            loss, logits = twin(features, targets), twin.logits(features)
    except Exception as error:
        told = f"fails when tried on {TRIED} images ({type(error).__name__}: {error})"
        raise UserError(told, where=_line(error, kind), key=key) from error
    if not loss.requires_grad:
        raise UserError(
            "the loss does not depend on the features or on a parameter",
            key=key,
            expected="a loss with a gradient",
        )
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if shape != (TRIED, classes):
        raise UserError("logits of the wrong shape", key=key, found=shape, expected=f"({TRIED}, {classes})")


def _line(error: BaseException, of: type | str) -> str | None:
    """The last line of a class's file (or of a file) that an error came through, as `file:line`."""
    file = of if isinstance(of, str) else getattr(sys.modules.get(of.__module__), "__file__", None)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{file}:{frames[-1].lineno}" if frames else None


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
