"""Penalties on weights that mattered: EWC, synaptic intelligence, memory aware synapses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from avalanche.training import supervised
from avalanche.training.plugins import EWCPlugin, MASPlugin, SynapticIntelligencePlugin
from avalanche.training.templates import SupervisedTemplate
from avalanche.training.utils import ParamData
from torch import Tensor

from hugbench.errors import UserError
from hugbench.protocols.continual.base import Strategy
from hugbench.types import Fraction, NonNegative, Positive


class EWC(Strategy):
    """Elastic weight consolidation: hold weights by the squared gradients of the criterion.

    Adds strength · Σ_k Σ_j F_kj (θ_j − θ_kj)² over the earlier experiences k, F_kj being the mean over
    the batches of experience k of the squared gradient of a batch's loss, in evaluation mode.

    Args:
        strength: of the penalty.
        mode: separate: a penalty for each earlier experience; online: one, around the last weights,
            with the sum of decayed importances.
        decay: of the importances at each experience, with `online`; null: 1, they are summed up.

    Source:
        Kirkpatrick et al., Overcoming Catastrophic Forgetting in Neural Networks, PNAS 2017,
        arXiv 1612.00796; Avalanche's EWCPlugin.

    Raises:
        UserError: a decay with mode separate.
    """

    def __init__(
        self,
        *,
        strength: NonNegative = 100.0,
        mode: Literal["separate", "online"] = "separate",
        decay: Fraction | None = None,
    ) -> None:
        if decay is not None and mode != "online":
            raise UserError(
                "importances decay with mode online only",
                key="protocol.strategy.decay",
                found=decay,
                expected="null, or mode: online",
            )
        self.strength, self.mode = strength, mode
        self.decay = None if mode == "separate" else 1.0 if decay is None else decay

    def build(self) -> SupervisedTemplate:
        self.plugin = EWCPlugin(self.strength, mode=self.mode, decay_factor=self.decay)
        return supervised.Naive(**self.common(self.plugin))

    def stored(self) -> dict[str, Any]:
        kept = {"weights": self.plugin.saved_params, "importances": self.plugin.importances}
        return {
            name: {number: _tensors(held) for number, held in by_experience.items()}
            for name, by_experience in kept.items()
        }

    def restore(self, state: dict[str, Any], done: int) -> None:
        device = self.parts.device
        for name, kept in (
            ("weights", self.plugin.saved_params),
            ("importances", self.plugin.importances),
        ):
            kept.clear()
            kept.update({number: _param_data(held, device) for number, held in state[name].items()})


class SI(Strategy):
    """Synaptic intelligence: hold weights by what they contributed to the loss's descent.

    Adds strength / 2 · Σ_j Ω_j (θ_j − θ*_j)², θ* being the weights at the end of the last experience
    and Ω_j at most 0.001; normalisation layers are left out.

    Args:
        strength: of the penalty.
        damping: ξ, added to the squared length of a weight's way.

    Source:
        Zenke, Poole, Ganguli, Continual Learning through Synaptic Intelligence, ICML 2017,
        arXiv 1703.04200; Maltoni, Lomonaco, arXiv 1806.08568; Avalanche's plugin, which does nothing
        on a CPU, where what it keeps of the weights before a step are the weights themselves.
    """

    def __init__(self, *, strength: NonNegative = 1.0, damping: Positive = 1e-7) -> None:
        self.strength, self.damping = strength, damping

    def build(self) -> SupervisedTemplate:
        self.plugin = _SI(self.strength, eps=self.damping)
        return supervised.Naive(**self.common(self.plugin))

    def stored(self) -> dict[str, Any]:
        if not self.plugin.ewc_data[1]:
            return {}
        return {
            "importances": _tensors(self.plugin.ewc_data[1]),
            "contributions": _tensors(self.plugin.syn_data["cum_trajectory"]),
        }

    def restore(self, state: dict[str, Any], done: int) -> None:
        if state:
            plugin = self.plugin
            plugin.create_syn_data(self.parts.model, plugin.ewc_data, plugin.syn_data, set())
            plugin.ewc_data[1].update(_param_data(state["importances"]))
            plugin.syn_data["cum_trajectory"].update(_param_data(state["contributions"]))

    def current(self) -> dict[str, Any]:
        return {
            "weights": _tensors(self.plugin.ewc_data[0]),
            "trajectory": _tensors(self.plugin.syn_data["trajectory"]),
        }

    def restore_current(self, state: dict[str, Any]) -> None:
        self.plugin.ewc_data[0].update(_param_data(state["weights"]))
        self.plugin.syn_data["trajectory"].update(_param_data(state["trajectory"]))


class MAS(Strategy):
    """Memory aware synapses: hold weights by the gradients of the length of the logits.

    Adds strength · Σ_j Ω_j (θ_j − θ*_j)², θ* being the weights at the end of the last experience and
    Ω_j the mean over its batches of |∂ mean_i ‖z_i‖² / ∂θ_j|, averaged with the earlier ones.

    Args:
        strength: of the penalty.
        alpha: weight of the earlier importances in that average.

    Source:
        Aljundi et al., Memory Aware Synapses: Learning What (Not) to Forget, ECCV 2018,
        arXiv 1711.09601; Avalanche's MASPlugin.
    """

    def __init__(self, *, strength: NonNegative = 1.0, alpha: Fraction = 0.5) -> None:
        self.strength, self.alpha = strength, alpha

    def build(self) -> SupervisedTemplate:
        self.plugin = _MAS(lambda_reg=self.strength, alpha=self.alpha)
        return supervised.Naive(**self.common(self.plugin))

    def stored(self) -> dict[str, Any]:
        if self.plugin.params is None:
            return {}
        return {"weights": _tensors(self.plugin.params), "importances": _tensors(self.plugin.importance)}

    def restore(self, state: dict[str, Any], done: int) -> None:
        if state:
            self.plugin.params = _param_data(state["weights"], self.parts.device)
            self.plugin.importance = _param_data(state["importances"], self.parts.device)


class _SI(SynapticIntelligencePlugin):  # type: ignore[misc]
    """Avalanche's, with weights that are kept rather than looked at again."""

    def before_training_exp(self, strategy: SupervisedTemplate, **kwargs: Any) -> None:
        """Keep the weights at the beginning of the experience."""
        super().before_training_exp(strategy, **kwargs)
        _keep(self.ewc_data[0])

    def before_training_iteration(self, strategy: SupervisedTemplate, **kwargs: Any) -> None:
        """Keep the weights before a step."""
        super().before_training_iteration(strategy, **kwargs)
        _keep(self.syn_data["old_theta"])


class _MAS(MASPlugin):  # type: ignore[misc]
    """Avalanche's, which stops at a loss of exactly 0, and waits for the device to tell it from one."""

    def before_backward(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Add the penalty."""
        if self.params is None:
            return
        for name, weight in strategy.model.named_parameters():
            moved = (weight - self.params[name].data) ** 2
            strategy.loss += self._lambda * (self.importance[name].data * moved).sum()


def _keep(held: Mapping[str, ParamData]) -> None:
    for data in held.values():
        data.data = data.data.clone()


def _tensors(held: Mapping[str, ParamData]) -> dict[str, Tensor]:
    """Copies of what Avalanche holds for each parameter."""
    return {name: data.data.detach().clone() for name, data in held.items()}


def _param_data(tensors: Mapping[str, Tensor], device: torch.device | None = None) -> dict[str, ParamData]:
    """What Avalanche holds, on `device`, or on the CPU."""
    where = torch.device("cpu") if device is None else device
    return {
        name: ParamData(name, tensor.shape, init_tensor=tensor.clone().to(where), device=where)
        for name, tensor in tensors.items()
    }
