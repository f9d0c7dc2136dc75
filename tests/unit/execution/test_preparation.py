from __future__ import annotations

from pathlib import Path

import pytest

from hugbench import api, registry
from hugbench.errors import UserError
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


@pytest.mark.parametrize("order", [1, -1])
def test_a_crop_is_refused_before_the_start_whichever_recipe_comes_last(tmp_path: Path, order: int) -> None:
    recipes = [
        "{epochs: 1, batch_size: 64, lr: 0.1, augment: {random_resized_crop: {}}}",
        "{epochs: 1, batch_size: 64, lr: 0.1}",
    ][::order]
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "criteria: [cross_entropy]\nbaseline: cross_entropy\n"
        "dataset: {name: digits, image_size: 16, max_train: 128, max_test: 20}\n"
        "model: {backbone: test_resnet, embedding_dim: 8}\n"
        f"recipe: [{', '.join(recipes)}]\n"
        "seeds: [0]\nevaluations: [accuracy]\n"
    )
    with pytest.raises(UserError, match="digits is kept resized"):
        api.run(suite, data=tmp_path, results=tmp_path / "results", device="cpu")
