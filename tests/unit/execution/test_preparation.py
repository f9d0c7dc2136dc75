from __future__ import annotations

from pathlib import Path

import pytest

from hugbench import registry
from hugbench.execution import preparation
from tests.unit.results.timed import plan_of

EVALUATIONS = "[{corruption: {kinds: [fog]}}]"


def test_what_is_alike_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built, looked = [], []
    build, preflight = preparation.untrained, registry.load_target(registry.PREFLIGHTS["corruption"])
    monkeypatch.setattr(preparation, "untrained", lambda run, data: built.append(run) or build(run, data))
    monkeypatch.setattr(preparation, "_threads", {})
    monkeypatch.setattr(preparation, "_fitting", set())

    def counted(*args: object, **kwargs: object) -> None:
        looked.append(args)
        preflight(*args, **kwargs)

    stream = "{continual: {experiences: 5, strategies: [naive]}}"
    plan = plan_of(tmp_path, protocol=stream, seeds="[0, 1, 2]", evaluations=EVALUATIONS)
    monkeypatch.setattr(registry, "load_target", lambda target: counted)
    threads = {preparation.check(p.run, plan.evaluations, tmp_path, lambda text: None) for p in plan.runs}
    assert len(threads) == 1
    assert [run.criterion.name for run in built] == ["cross_entropy", "hug"]
    assert len(looked) == 1
