"""Processes that train together, kept for all tests of a module."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from hugbench.training.ranks import Ranks


def joined(rank: int, count: int, file: str, device: torch.device) -> Ranks:
    """One of `count` processes that meet in a file."""
    store = dist.FileStore(file, count)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=timedelta(minutes=2))
    return Ranks(rank, count, device, control=dist.new_group(backend="gloo"), store=store)


class Processes:
    """`count` processes, each of which does what it is told."""

    def __init__(self, count: int, file: Path, device: torch.device) -> None:
        context = get_context("spawn")
        self.ends, self.processes = [], []
        for rank in range(count):
            mine, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(rank, count, str(file), device, theirs), daemon=True
            )
            process.start()
            self.ends.append(mine)
            self.processes.append(process)

    def __call__(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> list[Any]:
        """What each process gets from `function(ranks, ...)`; an exception of any is raised here."""
        for end in self.ends:
            end.send((function, arguments, named))
        answers = [end.recv() for end in self.ends]
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


def _serve(rank: int, count: int, file: str, device: torch.device, end: Connection) -> None:
    torch.set_num_threads(1)
    ranks = joined(rank, count, file, device)
    while True:
        function, arguments, named = end.recv()
        try:
            end.send(function(ranks, *arguments, **named))
        except Exception as error:
            end.send(AssertionError(f"rank {rank}: {error!r}\n{traceback.format_exc()}"))
