"""The names a suite may use, and where each is defined. Importing this imports none of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from hugbench.errors import UserError, nearest

CRITERIA: dict[str, str] = {
    "cross_entropy": "hugbench.criteria.softmax:CrossEntropy",
    "hug": "hugbench.criteria.hug:HUG",
    "normface": "hugbench.criteria.angular:NormFace",
    "cosface": "hugbench.criteria.angular:CosFace",
    "arcface": "hugbench.criteria.angular:ArcFace",
    "etf_dot_regression": "hugbench.criteria.frames:ETFDotRegression",
    "max_class_separation": "hugbench.criteria.frames:MaximumClassSeparation",
    "hyperspherical_prototypes": "hugbench.criteria.frames:HypersphericalPrototypes",
    "ntce": "hugbench.criteria.contrast:NTCE",
    "nonl": "hugbench.criteria.contrast:NONL",
    "supcon": "hugbench.criteria.contrast:SupCon",
    "ce_mhe": "hugbench.criteria.regularised:CrossEntropyMHE",
    "logit_norm": "hugbench.criteria.regularised:LogitNorm",
    "squared_error": "hugbench.criteria.regression:SquaredError",
    "sigmoid_bce": "hugbench.criteria.regression:SigmoidBCE",
    "harmonic": "hugbench.criteria.harmonic:Harmonic",
    "focal": "hugbench.criteria.long_tail:Focal",
    "class_balanced": "hugbench.criteria.long_tail:ClassBalanced",
    "balanced_softmax": "hugbench.criteria.long_tail:BalancedSoftmax",
    "logit_adjustment": "hugbench.criteria.long_tail:LogitAdjustment",
    "logit_adjustment_post_hoc": "hugbench.criteria.long_tail:PostHocLogitAdjustment",
    "ldam": "hugbench.criteria.long_tail:LDAM",
}

EVALUATIONS: dict[str, str] = {
    "accuracy": "hugbench.evaluations.accuracy:accuracy",
    "calibration": "hugbench.evaluations.calibration:calibration",
    "collapse": "hugbench.evaluations.collapse:collapse",
    "corruption": "hugbench.evaluations.corruption.evaluation:corruption",
    "adversarial": "hugbench.evaluations.adversarial.evaluation:adversarial",
    "ood": "hugbench.evaluations.ood.evaluation:ood",
}

PAIRED: frozenset[str] = frozenset({"adversarial"})
"""Evaluations that also look at the model of the paired baseline (`Setting.reference`)."""

ARGUMENT_CHECKS: dict[str, str] = {
    "calibration": "hugbench.evaluations.corruption.arguments:check",
    "corruption": "hugbench.evaluations.corruption.arguments:check",
    "adversarial": "hugbench.evaluations.adversarial.ladder:check_arguments",
    "ood": "hugbench.evaluations.ood.sets:check_arguments",
}
"""What an evaluation says of its arguments together, `f(**arguments)`, without torch; raises UserError."""

PREFLIGHTS: dict[str, str] = {
    "calibration": "hugbench.evaluations.calibration:preflight",
    "corruption": "hugbench.evaluations.corruption.origin:preflight",
    "adversarial": "hugbench.evaluations.adversarial.ladder:check_data",
    "ood": "hugbench.evaluations.ood.evaluation:preflight",
}
"""What an evaluation wants to see before any run starts: `f(dataset, data, **arguments)`, `data` being the
data folder; raises UserError."""

PROTOCOLS: dict[str, str] = {
    "continual": "hugbench.protocols.continual.protocol:continual",
    "standard": "hugbench.protocols.standard:standard",
}

STRATEGIES: dict[str, str] = {
    "naive": "hugbench.protocols.continual.plain:Naive",
    "cumulative": "hugbench.protocols.continual.plain:Cumulative",
    "joint": "hugbench.protocols.continual.plain:Joint",
    "replay": "hugbench.protocols.continual.replay:Replay",
    "replay_reservoir": "hugbench.protocols.continual.reservoir:ReplayReservoir",
    "er_ace": "hugbench.protocols.continual.ace:ERACE",
    "er_ace_criterion": "hugbench.protocols.continual.ace:ERACECriterion",
    "der": "hugbench.protocols.continual.dark:DER",
    "der_criterion": "hugbench.protocols.continual.dark:DERCriterion",
    "der_pp": "hugbench.protocols.continual.dark:DERpp",
    "der_pp_criterion": "hugbench.protocols.continual.dark:DERppCriterion",
    "ewc": "hugbench.protocols.continual.penalties:EWC",
    "si": "hugbench.protocols.continual.penalties:SI",
    "mas": "hugbench.protocols.continual.penalties:MAS",
    "lwf": "hugbench.protocols.continual.distillation:LwF",
    "lwf_criterion": "hugbench.protocols.continual.distillation:LwFCriterion",
    "agem": "hugbench.protocols.continual.episodic:AGEM",
    "gem": "hugbench.protocols.continual.episodic:GEM",
    "mir": "hugbench.protocols.continual.interference:MIR",
    "gdumb": "hugbench.protocols.continual.gdumb:GDumb",
    "icarl": "hugbench.protocols.continual.icarl:ICaRL",
}

ENTRY_POINTS = "hugbench.criteria"


@lru_cache(maxsize=1)
def installed_criteria() -> dict[str, str]:
    """Criteria that other installed packages offer through the entry point `hugbench.criteria`."""
    from importlib.metadata import entry_points

    return {point.name: f"{point.module}:{point.attr}" for point in entry_points(group=ENTRY_POINTS)}


def criteria() -> dict[str, str]:
    """Every criterion by name: hugbench's own, then installed ones of other names."""
    return {**installed_criteria(), **CRITERIA}


def load_target(target: str) -> Callable[..., Any]:
    """The function or class of `module:Name`, imported."""
    module, _, name = target.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def lookup(kind: str, table: dict[str, str], name: str, where: str | None, key: str | None) -> str:
    """The target of `name`.

    Raises:
        UserError: no such name; says the nearest one.
    """
    if name not in table:
        raise UserError(
            f"unknown {kind}",
            where=where,
            key=key,
            found=name,
            expected=f"one of: {', '.join(sorted(table))}",
            nearest=nearest(name, table),
        )
    return table[name]
