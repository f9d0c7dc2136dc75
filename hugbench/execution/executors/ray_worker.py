"""What a Ray task does: carry out one run, in a process that later tasks use again.

Nothing here imports torch before the process has the driver's environment of threads.
"""

from __future__ import annotations

import os
import pickle
import platform
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from hugbench import __version__
from hugbench.errors import HugbenchError, UserError
from hugbench.execution.events import Event, Printed
from hugbench.execution.executors.parcels import Parcel, pack, unpack
from hugbench.execution.executors.printing import shown
from hugbench.execution.executors.ray_desk import Begun, Line
from hugbench.execution.place import Place, names_in
from hugbench.execution.schedule import Result
from hugbench.results.store import RunFolder
from hugbench.suite.plan import PlannedRun
from hugbench.suite.plugins import EvaluationSpec


@dataclass(frozen=True)
class Order:
    """What a task is to do.

    Attributes:
        planned: the run.
        evaluations: asked of it.
        place: data and results as the driver sees them, and the device.
        token: a file in the results folder, and what stands in it.
        threads: CPU threads that the driver has found for the run; None where it computes on a GPU.
        cpus: its part of the processors.
        names: what lies in the data folder as the driver sees it; None if it is not there.
        checksum: of the run's data.
        version: the driver's hugbench.
    """

    planned: PlannedRun
    evaluations: tuple[EvaluationSpec, ...]
    place: Place
    token: tuple[str, str]
    threads: int | None
    cpus: int
    names: tuple[str, ...] | None
    checksum: str
    version: str


@dataclass(frozen=True)
class Attempt:
    """How a task ended.

    Attributes:
        result: of the run; `unseen` if this worker does not see the results folder and was sent no files,
            `raised` if something concerns every run.
        events: those that were not sent yet.
        parcel: the run's folder, if its files were sent.
        error: what was raised.
    """

    result: Result | Literal["unseen", "raised"]
    events: tuple[Event | Begun, ...] = ()
    parcel: Parcel | None = None
    error: Exception | None = None


def thread_settings() -> dict[str, str]:
    """The variables of the environment that say how many threads libraries take."""
    return {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}


def attempt(
    threads: Mapping[str, str], order: bytes, parcels: Mapping[str, Parcel] | None, desk: Any
) -> Attempt:
    """The task.

    Args:
        threads: the driver's `thread_settings`; Ray has set OMP_NUM_THREADS, whatever the driver's was.
        order: a pickled `Order`.
        parcels: the run's files and those of its paired baseline, by id, where workers do not see them.
        desk: the actor that passes on what is said.
    """
    for name in thread_settings().keys() - threads.keys():
        del os.environ[name]
    os.environ.update(threads)
    line = Line(desk)
    try:
        with line, shown(lambda text: line.say(Printed(text))):
            ended = _carry_out(pickle.loads(order), parcels, line)
    except Exception as error:
        ended = Attempt("raised", error=_portable(error))
    return replace(ended, events=tuple(line.unsent()))


def _carry_out(order: Order, parcels: Mapping[str, Parcel] | None, line: Line) -> Attempt:
    """The run in the results folder itself, or in a folder of its own that is sent back."""
    if order.version != __version__:
        told = f"hugbench {__version__} is installed on the machine {platform.node()}"
        raise UserError(told, where="--ray-address", expected=f"{order.version}, as here, on every node")
    if not line.begin(order.planned.run.run_id):
        return Attempt("stopped")
    _see_data(order)
    if parcels is None:
        return Attempt(_execute(order, order.place, line) if _sees_results(order) else "unseen")
    with tempfile.TemporaryDirectory(prefix="hugbench-run-") as name:
        place = replace(order.place, results=Path(name))
        for run_id, parcel in parcels.items():
            unpack(RunFolder(place.results, run_id), parcel)
        result = _execute(order, place, line)
        return Attempt(result, parcel=pack(RunFolder(place.results, order.planned.run.run_id)))


def _execute(order: Order, place: Place, line: Line) -> Result:
    import torch

    from hugbench.data import machine
    from hugbench.execution import preparation
    from hugbench.execution.run import execute

    machine.share(order.cpus)
    if order.threads is not None:
        preparation.agree_on_threads(order.threads)
    elif not torch.cuda.is_available():
        raise UserError(
            f"the machine {platform.node()} has no GPU that PyTorch can use",
            where="--gpus-per-run",
            expected="a CUDA build of PyTorch on every node with GPUs, or --device cpu",
        )
    dataset = preparation.dataset_of(order.planned.run.dataset, place.data, _telling(line))
    if dataset.checksum != order.checksum:
        raise UserError(
            f"{dataset.name} is not the same data on the machine {platform.node()}",
            where="--data",
            found=str(place.data),
            expected="the same files on every node",
        )
    return execute(order.planned, order.evaluations, place, line.say, line.stopping)


def _telling(line: Line) -> Callable[[str], None]:
    from hugbench.execution.events import Notice

    return lambda sentence: line.say(Notice(sentence))


def _sees_results(order: Order) -> bool:
    """Whether the results folder here is the driver's: its token lies there."""
    name, content = order.token
    try:
        return (order.place.results / name).read_text() == content
    except OSError:
        return False


def _see_data(order: Order) -> None:
    """Make sure that the data folder is here, too.

    Raises:
        UserError: it is not, or lacks something.
    """
    here = names_in(order.place.data)
    if order.names is None or set(order.names) <= set(here or ()):
        return
    lacking = sorted(set(order.names) - set(here or ()))
    raise UserError(
        f"the data folder is not on the machine {platform.node()}"
        if here is None
        else f"the data folder on the machine {platform.node()} lacks {lacking[0]}",
        where="--data",
        found=str(order.place.data),
        expected="the same folder under the same path on every node",
    )


def _portable(error: Exception) -> Exception:
    """The error, or its text with the traceback where it is none of hugbench's."""
    if isinstance(error, HugbenchError | OSError | MemoryError):
        return error
    told = RuntimeError(f"{type(error).__name__}: {error}")
    told.add_note("In the worker:\n" + "".join(traceback.format_exception(error)))
    return told
