"""Several processes that train one model together, and what they say to each other.

The processes are ranks, counted from 0. Each holds the whole model and computes the features of its part
of a batch; the loss sees the features of all. The first rank decides: what it tells the others comes over
a channel of its own, on which they wait for as long as it takes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import Store  # type: ignore[attr-defined]

from hugbench.errors import HugbenchError

T = TypeVar("T")

PATIENCE = timedelta(seconds=10)
"""How long a rank that failed waits for the others to fail as well."""

STEP_LIMIT = timedelta(minutes=30)
"""How long a rank waits for the others within a step of training, where they compute all alike."""


class RankFailed(HugbenchError):
    """A rank failed, or was lost, where the others did not: none can go on.

    Args:
        rank: which.
        how: what is known of it.
    """

    def __init__(self, rank: int, how: str) -> None:
        self.rank = rank
        super().__init__(
            f"rank {rank} failed, and the others cannot go on without it ({how}); "
            "the same command goes on from the last checkpoint"
        )


class LedAway(Exception):
    """The first rank has ended a training, for a reason that is its own to tell."""


@dataclass
class Ranks:
    """This process and the others. As it is built without arguments there are none, and nothing is said.

    Attributes:
        rank: this one's number.
        count: of ranks.
        device: where this one trains; None where there are no others.
        control: group of the words of the first rank; waits for as long as it takes.
        store: where ranks that fail leave word.
        backend: nccl or gloo, for the tensors of training.
        group: what the tensors of the training that is going on pass through, see `training`.
    """

    rank: int = 0
    count: int = 1
    device: torch.device | None = None
    control: dist.ProcessGroup | None = None
    store: Store | None = None
    backend: str = "gloo"
    group: dist.ProcessGroup | None = None
    _attempts: Iterator[int] = field(default_factory=itertools.count, repr=False)
    _attempt: int = -1

    @property
    def first(self) -> bool:
        """Whether this is the rank that decides, evaluates and writes."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there are no others."""
        return self.count == 1

    def part(self, batch: int) -> slice:
        """This rank's rows of a batch: all ranks have as many, or the first ones one more."""
        each, rest = divmod(batch, self.count)
        start = self.rank * each + min(self.rank, rest)
        return slice(start, start + each + (self.rank < rest))

    def tell(self, thing: T) -> T:
        """What the first rank calls this with, on every rank."""
        if self.alone:
            return thing
        told = [thing]
        dist.broadcast_object_list(told, src=0, group=self.control)
        return told[0]

    @contextmanager
    def training(self) -> Iterator[None]:
        """A group for the tensors of one training: what is left in it if that fails is no other's."""
        if self.alone:
            yield
            return
        self._attempt = next(self._attempts)
        self.group = group_of_all(self.backend, STEP_LIMIT)
        try:
            yield
        finally:
            group, self.group = self.group, None
            dist.destroy_process_group(group)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What all ranks do alike. If it fails on all, that is an error like any other.

        Raises:
            RankFailed: it failed on some only.
        """
        try:
            yield
        except Exception as error:
            if not self.alone and (failed := self._only_some(f"{type(error).__name__}: {error}")):
                raise RankFailed(*failed) from error
            raise

    @contextmanager
    def led(self) -> Iterator[None]:
        """What only the first rank does, while the others wait; if it raises, the training ends for all.

        Raises:
            LedAway: it raised, on the first rank.
        """
        try:
            yield
        except BaseException:
            self.tell(False)
            raise
        if not self.tell(True):
            raise LedAway

    def align(self, module: nn.Module) -> None:
        """Give all ranks the weights and buffers of the first: theirs are the same but for rounding."""
        if not self.alone:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, src=0, group=self.group)

    def _only_some(self, error: str) -> tuple[int, str] | None:
        """Leave word of an error; None if all ranks did, else the rank that failed alone, and how."""
        assert self.store is not None
        words = [f"attempt {self._attempt}, rank {rank}" for rank in range(self.count)]
        first_alone = f"attempt {self._attempt}, alone"
        try:
            self.store.set(words[self.rank], error)
            try:
                self.store.wait(words, PATIENCE)
            except RuntimeError:
                self.store.compare_set(first_alone, "", f"{self.rank} {error}")
            if not self.store.check([first_alone]):
                return None
            rank, how = self.store.get(first_alone).decode().split(" ", 1)
            return int(rank), how
        except RuntimeError:  # the store went with the rank that kept it
            return self.rank, error


ALONE = Ranks()


def group_of_all(backend: str, timeout: timedelta) -> dist.ProcessGroup:
    """A new group of all ranks, on each of which this is called."""
    group = dist.new_group(backend=backend, timeout=timeout)
    assert isinstance(group, dist.ProcessGroup)
    return group


class _Gather(torch.autograd.Function):
    """The rows of all ranks. The gradient of a rank's rows counts as often as there are ranks.

    Every rank computes the same loss of all features, so what each finds for its own rows is all there
    is. DistributedDataParallel takes the mean of the ranks' gradients: with the factor that is their sum
    for what lies before the features, and for the criterion's parameters the one that all have found.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, own: Tensor, batch: int, ranks: Ranks) -> Tensor:
        ctx.ranks, ctx.batch = ranks, batch  # type: ignore[attr-defined]
        whole = own.new_zeros(batch, *own.shape[1:])
        whole[ranks.part(batch)] = own
        dist.all_reduce(whole, group=ranks.group)
        return whole

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None]:
        ranks: Ranks = ctx.ranks  # type: ignore[attr-defined]
        return gradient[ranks.part(ctx.batch)] * ranks.count, None, None  # type: ignore[attr-defined]


def gather(own: Tensor, batch: int, ranks: Ranks) -> Tensor:
    """The features of a whole batch, (B, d), of which this rank has computed `ranks.part(B)`.

    The gradient is for DistributedDataParallel, see `_Gather`.
    """
    whole: Tensor = _Gather.apply(own, batch, ranks)
    return whole
