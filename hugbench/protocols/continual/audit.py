"""What a strategy really did with the criterion, counted while it trained, and held against its promise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from hugbench.errors import HugbenchError
from hugbench.suite.strategies import Facts


class AuditError(HugbenchError):
    """A strategy did not do with the criterion what it promises: its numbers would mean something else."""


@dataclass
class Account:
    """One experience. Images are counted at every pass in which they are trained on.

    Attributes:
        experience: counted from 1.
        classes: labels of the experience, in the order of the stream.
        images: of the experience.
        criterion_new: images of this experience whose loss was the criterion's.
        criterion_replayed: the same for images of earlier experiences.
        own_loss_new: images of this experience that only a loss of the strategy's own has seen.
        own_loss_replayed: the same for images of earlier experiences.
        head_is_live: the criterion's parameters, and all it was computed with, are the live model's.
        head_in_optimizer: the optimizer steps all parameters of the criterion.
        head_gradient: the largest norm of their gradient among the first steps of all epochs; None
            where the criterion has no parameters, or they got no gradient.
        unseen_proxies: whether proxies of classes without images so far took part.
    """

    experience: int
    classes: list[int]
    images: int
    criterion_new: int = 0
    criterion_replayed: int = 0
    own_loss_new: int = 0
    own_loss_replayed: int = 0
    head_is_live: bool = True
    head_in_optimizer: bool = True
    head_gradient: float | None = None
    unseen_proxies: str = "take part"

    def plain(self) -> dict[str, Any]:
        """As plain data, for `audit.json` and for checkpoints."""
        return asdict(self)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Account:
        """From what `plain` gave."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})


class Audit:
    """Collects the rows of every pass of an epoch; looks at them when it is over.

    Args:
        experience_of: the experience of every row of the training set, int64 (N,), on the CPU.
        criterion: the live one.
    """

    def __init__(self, experience_of: Tensor, criterion: nn.Module) -> None:
        self.experience_of = experience_of
        self.criterion = criterion
        self.model: nn.Module | None = None
        self.account: Account | None = None
        self._open = False
        self._seen: list[Tensor] = []
        self._served: list[Tensor] = []

    def begin(self, account: Account, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Open the account of an experience: `model` is what the strategy will train."""
        self.account, self.model = account, model
        mine = {id(parameter) for parameter in self.criterion.parameters() if parameter.requires_grad}
        account.head_is_live &= mine <= {id(parameter) for parameter in model.parameters()}
        stepped = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
        account.head_in_optimizer &= mine <= stepped

    def open(self) -> None:
        """Count from now on."""
        self._open, self._seen, self._served = True, [], []

    def saw(self, rows: Tensor) -> None:
        """Note rows (B,) that were forwarded to be trained on."""
        if self._open:
            self._seen.append(rows)

    def serves(self, rows: Tensor, criterion: nn.Module) -> None:
        """Note rows (B,) whose loss `criterion` computes, with gradients."""
        if self._open:
            self._served.append(rows)
            if criterion is not self.criterion:
                self._account.head_is_live = False

    def gradient(self) -> None:
        """Look at the gradient of the criterion's parameters."""
        found = [parameter.grad for parameter in self.criterion.parameters() if parameter.grad is not None]
        if found:
            norm = float(torch.stack([gradient.norm() for gradient in found]).norm())
            self._account.head_gradient = max(norm, self._account.head_gradient or 0.0)

    def close(self) -> None:
        """Stop counting, and enter the counts."""
        account, self._open = self._account, False
        seen, served = self._count(self._seen), self._count(self._served)
        account.criterion_new += served[0]
        account.criterion_replayed += served[1]
        account.own_loss_new += seen[0] - served[0]
        account.own_loss_replayed += seen[1] - served[1]
        self._seen, self._served = [], []

    def check(self, strategy: str, facts: Facts) -> None:
        """Hold the finished account against what the strategy promises.

        Raises:
            AuditError: the two differ.
        """
        account = self._account
        learnable = any(parameter.requires_grad for parameter in self.criterion.parameters())
        for broken in _broken(account, facts, learnable):
            raise AuditError(
                f"{strategy}, experience {account.experience}: {broken}; the account is {account.plain()}"
            )

    @property
    def _account(self) -> Account:
        assert self.account is not None
        return self.account

    def _count(self, rows: list[Tensor]) -> tuple[int, int]:
        """How many rows are of the current experience, and of others."""
        if not rows:
            return 0, 0
        passed = torch.cat(rows).cpu()
        new = int((self.experience_of[passed] == self._account.experience).sum())
        return new, len(passed) - new


def _broken(account: Account, facts: Facts, learnable: bool) -> Iterator[str]:
    """What an account says that the facts do not."""
    first = account.experience == 1
    if facts.new == "criterion" or (facts.new == "first experience" and first):
        if not account.criterion_new or account.own_loss_new:
            yield "the criterion was not the loss of all new images"
    elif account.criterion_new:
        yield "the criterion was called on new images"
    if facts.replayed == "criterion" and not first:
        if not account.criterion_replayed or account.own_loss_replayed:
            yield "the criterion was not the loss of all replayed images"
    elif facts.replayed == "never" and account.criterion_replayed:
        yield "the criterion was called on replayed images"
    elif (facts.replayed == "none" or first) and (account.criterion_replayed or account.own_loss_replayed):
        yield "images were replayed"
    if not account.head_is_live:
        yield "the criterion's head is not the live model's"
    if not account.head_in_optimizer:
        yield "the optimizer does not step the criterion's head"
    if learnable and account.head_gradient is None:
        yield "the criterion's head got no gradient"
