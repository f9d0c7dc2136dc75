"""The flat rows of a suite: what its finished runs measured, under the suite's own labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hugbench.errors import CorruptFile
from hugbench.results.corruption import corruption_rows
from hugbench.results.store import RunFolder
from hugbench.results.stream import stream_rows
from hugbench.suite.plan import Plan, asked

COLUMNS = (
    "run_id",
    "criterion",
    "dataset",
    "backbone",
    "protocol",
    "variant",
    "seed",
    "evaluation",
    "metric",
    "condition",
    "severity",
    "experience",
    "epoch",
    "subset",
    "value",
    "n",
    "reference",
    "reliability",
)


def collect_records(plan: Plan, root: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Every record of the plan that is finished, and a sentence for each that is damaged.

    The numbers of a class-incremental stream (`hugbench.results.stream`) follow the records of its run;
    what is normalised by the baseline (`hugbench.results.corruption`) follows all.
    `criterion` and `evaluation` are the suite's labels; `variant` is the run's place on its axes;
    `reference` is the criterion that a number is normalised by, where it is; `reliability` is the verdict
    of a figure's own checks, PASS, WARN or FAIL, where it has such.
    """
    rows: list[dict[str, Any]] = []
    damaged: list[str] = []
    for planned in plan.runs:
        own: list[dict[str, Any]] = []
        folder = RunFolder(root, planned.run.run_id)
        status = folder.status()
        for question in asked(planned, plan.evaluations):
            if question.key not in status.evaluations:
                continue
            try:
                found = folder.records(status, question.key)
            except CorruptFile as error:
                damaged.append(str(error))
                continue
            labels: dict[str, Any] = {
                "criterion": planned.label,
                "variant": planned.variant,
                "evaluation": question.spec.label,
            }
            own += [{name: labels.get(name, row.get(name)) for name in COLUMNS} for row in found]
        stream = planned.run.protocol.experiences
        rows += own if stream is None else [*own, *stream_rows(own, stream)]
    return [*rows, *corruption_rows(rows, plan.baseline)], damaged
