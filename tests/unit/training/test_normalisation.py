from __future__ import annotations

import pytest
import torch
from timm.layers import EvoNorm2dB0, FrozenBatchNormAct2d
from torch import nn

from hugbench.errors import UserError
from hugbench.training.normalisation import synchronised
from hugbench.training.ranks import ALONE, Ranks

TWO = Ranks(0, 2, torch.device("cpu"))


def test_only_batch_norms_outside_the_criterion_go_over_the_ranks() -> None:
    criterion = nn.Sequential(nn.BatchNorm1d(2))
    model = nn.Sequential(nn.BatchNorm2d(2), nn.LayerNorm(2), FrozenBatchNormAct2d(2), criterion)
    with synchronised(model, criterion, TWO):
        assert [name for name, part in model.named_modules() if "forward" in vars(part)] == ["0"]
        assert list(model.state_dict()) == list(nn.Sequential(*model).state_dict())
    assert not any("forward" in vars(part) for part in model.modules())


def test_one_process_is_left_alone() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), EvoNorm2dB0(2))
    with synchronised(model, nn.Identity(), ALONE):
        assert not any("forward" in vars(part) for part in model.modules())


class Own(nn.BatchNorm2d):
    """With a forward of which nothing is known."""


@pytest.mark.parametrize("norm", [EvoNorm2dB0(2), Own(2), nn.InstanceNorm2d(2, track_running_stats=True)])
def test_another_normalisation_over_the_batch_is_refused(norm: nn.Module) -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), norm)
    with (
        pytest.raises(
            UserError, match=f"model.backbone: .* found '{type(norm).__name__}'; expected one with"
        ),
        synchronised(model, nn.Identity(), TWO),
    ):
        pass
    assert not any("forward" in vars(part) for part in model.modules())
