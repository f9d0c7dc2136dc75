"""One run trained by several processes: the first drives the suite, the others take part in its trainings.

The first rank plans, locks, evaluates, writes and prints, and tells the others which run is trained next.
These load the data, build the model, get the checkpoint's state from the first, and do their part of every
batch; they write nothing. In the end all have the outcome, or the error, of the first.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import platform
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from hugbench import registry
from hugbench.data import machine
from hugbench.errors import HugbenchError, UserError
from hugbench.execution.device import find_device
from hugbench.execution.place import Place
from hugbench.execution.preparation import dataset_of, threads_of, untrained
from hugbench.execution.processes import processes
from hugbench.registry import load_target
from hugbench.suite.plan import Run
from hugbench.training.ranks import RankFailed, Ranks, group_of_all

T = TypeVar("T")

MEETING = timedelta(minutes=10)
"""How long the processes wait for each other when they start."""

FOREVER = timedelta(days=365)
"""How long they wait for the first one's word: its evaluations may take hours."""

LEAVING = timedelta(minutes=1)
"""How long the others' end waits for the first one's: torchrun ends all when one ends with an error."""

_meetings = itertools.count()


@dataclass(frozen=True)
class TakePart:
    """To the others: this run is trained, from this data folder."""

    run: Run
    data: Path


@dataclass(frozen=True)
class Over:
    """To the others: all is done, and this is what it came to."""

    outcome: Any


@dataclass(frozen=True)
class Raised:
    """To the others: an error has ended it."""

    error: Exception


def on_all_ranks(device: str, drive: Callable[[Ranks], T]) -> T:
    """Call `drive` on the first rank; the others take part in its trainings, then return what it did.

    Args:
        device: auto, cpu or cuda; on CUDA every process takes a GPU of its own.
        drive: carries out runs at a place with the ranks that it is given and their device.

    Raises:
        UserError: the processes' variables, or the devices, do not fit.
        RankFailed: a rank failed on its own, or was lost.
        Exception: what `drive` raised, on all ranks.
    """
    try:
        with _joined(device) as ranks:
            return _drive(ranks, drive) if ranks.first else _follow(ranks)
    except RankFailed as error:
        if error.rank == processes().rank:
            print(f"rank {error.rank}:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        atexit.unregister(_leave_last)
        raise


@contextmanager
def training(place: Place, run: Run) -> Iterator[dict[str, Any]]:
    """Around the training of a run on the first rank: what the protocol is told of others, who take part."""
    if place.ranks is None:
        yield {}
        return
    place.ranks.tell(TakePart(run, place.data))
    with place.ranks.training():
        yield {"ranks": place.ranks}


@contextmanager
def _joined(device: str) -> Iterator[Ranks]:
    """This process among the others, which have all met."""
    us, meeting = processes(), _meeting_place()
    store, rank, count = PrefixStore(f"meeting {next(_meetings)}", meeting), us.rank, us.count
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=MEETING)
    try:
        own = _device_for_all(device, us.place)
        if own.type == "cuda":
            torch.cuda.set_device(own)
        machine.share(max(1, machine.available_cpus() // us.here))
        control = group_of_all("gloo", FOREVER)
        backend = "nccl" if own.type == "cuda" and dist.is_nccl_available() else "gloo"
        yield Ranks(rank, count, own, control, store, backend)
    finally:
        dist.destroy_process_group()


@cache
def _meeting_place() -> Store:
    """What all processes read and write, for as long as they live; the first is the first to leave.

    torchrun's store outlives the processes that it starts again, which must not find what those left.
    """
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = PrefixStore(f"attempt {attempt}", next(rendezvous("env://", timeout=MEETING))[0])
    atexit.register(_leave_first if processes().rank == 0 else _leave_last, store)
    return store


def _leave_first(store: Store) -> None:
    """Have said all, and say so."""
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.suppress(RuntimeError):
        store.set("the first has ended", "")


def _leave_last(store: Store) -> None:
    with contextlib.suppress(RuntimeError):  # or it has ended without a word
        store.wait(["the first has ended"], LEAVING)


def _device_for_all(name: str, place: int) -> torch.device:
    """This process's device, if all have one that fits.

    Raises:
        UserError: they have not; the same on all.
    """
    found: list[Any] = [None] * dist.get_world_size()
    try:
        own = _device(name, place)
        told: Any = own.type, _identity(own)
    except UserError as error:
        told = error
    dist.all_gather_object(found, told)
    for other in found:
        if isinstance(other, UserError):
            raise other
    kinds, gpus = {kind for kind, _ in found}, [gpu for _, gpu in found if gpu is not None]
    if len(kinds) > 1 or len(set(gpus)) < len(gpus):
        shown = " and ".join(sorted(kinds)) if len(kinds) > 1 else f"{len(set(gpus))} GPUs"
        raise UserError(
            f"{len(found)} processes train together, each on a GPU of its own or all on the CPU",
            where="--device",
            found=shown,
            expected="as many processes as GPUs, or --device cpu",
        )
    return own


def _device(name: str, place: int) -> torch.device:
    """The device of the process with this number on its machine."""
    device = find_device(name)
    if device.type == "mps" or ":" in name:
        raise UserError(
            "several processes train on a GPU each, or on the CPU",
            where="--device",
            found=str(device),
            expected="auto, cuda or cpu",
        )
    return torch.device("cuda", place % torch.cuda.device_count()) if device.type == "cuda" else device


def _identity(device: torch.device) -> str | None:
    """What tells a GPU from all others; None for a CPU."""
    if device.type != "cuda":
        return None
    return f"{platform.node()} {torch.cuda.get_device_properties(device).uuid}"


def _drive(ranks: Ranks, drive: Callable[[Ranks], T]) -> T:
    """The first rank's part."""
    try:
        outcome = drive(ranks)
    except RankFailed:
        raise
    except Exception as error:
        ranks.tell(Raised(error if isinstance(error, HugbenchError) else HugbenchError(str(error))))
        raise
    ranks.tell(Over(outcome))
    return outcome


def _follow(ranks: Ranks) -> Any:
    """The others' part: do what the first rank tells, until it tells of the end."""
    with _deaf():
        while True:
            match _told(ranks):
                case TakePart(run, data):
                    _take_part(ranks, run, data)
                case Over(outcome):
                    return outcome
                case Raised(error):
                    raise error


def _told(ranks: Ranks) -> TakePart | Over | Raised | None:
    try:
        return ranks.tell(None)
    except RuntimeError as error:
        raise RankFailed(0, "it ended without a word") from error


def _take_part(ranks: Ranks, run: Run, data: Path) -> None:
    """Train a run with the others; an error that all have is the first rank's to tell."""
    protocol = load_target(registry.PROTOCOLS[run.protocol.name])
    try:
        with ranks.training():
            with ranks.together():
                dataset = dataset_of(run.dataset, data, lambda text: None)
                classifier = untrained(run, dataset)
                if ranks.device == torch.device("cpu"):
                    torch.set_num_threads(threads_of(run, classifier, dataset))
            protocol(
                classifier,
                dataset,
                run,
                device=ranks.device,
                checkpoint=None,
                log=None,
                on_epoch=lambda row: None,
                keep=lambda moment, now: None,
                note=lambda name, told: None,
                ranks=ranks,
            )
    except RankFailed:
        raise
    except Exception:
        return


@contextmanager
def _deaf() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM are the first rank's to hear: all stop at the same checkpoint."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
