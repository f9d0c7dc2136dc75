"""What an evaluation is handed and may hand back: the paired baseline, a scratch folder, details, verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hugbench import api, registry
from hugbench.errors import UserError
from hugbench.execution.events import RunStarted
from hugbench.execution.run import Place, execute
from hugbench.results import order
from hugbench.results.store import RunFolder
from hugbench.suite.plan import PlannedRun

SUITE = """\
criteria: [{criteria}]
baseline: cross_entropy
dataset: {{name: digits, max_train: 64, max_test: 40}}
model: {{backbone: test_resnet, embedding_dim: 8}}
recipe: {{epochs: 1, batch_size: 32, lr: 0.1}}
seeds: [0, 1]
evaluations: [{{probe: {{eps: 8/255}}}}]
"""

PROBE = '''
"""Planted."""
from pathlib import Path
import torch
from hugbench.errors import UserError
from hugbench.evaluations.base import Findings, Measurement
from hugbench.types import Eps, PositiveInt, eps_value


def probe(classifier, setting, *, eps: Eps = "1/255", size: PositiveInt = 1):
    """Look at the reference."""
    setting.scratch.mkdir(parents=True, exist_ok=True)
    (setting.scratch / "kept").write_text("kept")
    setting.tell("looking")
    reference = setting.reference()
    apart = -1.0
    if reference is not None:
        own = torch.cat([p.detach().flatten() for p in classifier.backbone.parameters()])
        apart = float((own - torch.cat([p.detach().flatten() for p in reference.backbone.parameters()])).norm())
    details = {"eps": eps_value(eps), "data": str(setting.data), "training": reference and reference.training}
    return Findings([Measurement("apart", apart, 40, reliability="FAIL")], details=details)


def arguments(*, eps, size):
    if size > 5:
        raise UserError("too many", key="size", found=size)


def preflight(dataset, data, *, eps, size):
    if size > 4:
        raise UserError("too many for the data", key="size", found=size, expected=str(len(dataset.test)))
'''


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module with an evaluation called probe, registered as one that looks at the paired baseline."""
    folder = tmp_path / "planted"
    folder.mkdir()
    (folder / "planted_probe.py").write_text(PROBE)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(registry.EVALUATIONS, "probe", "planted_probe:probe")
    monkeypatch.setitem(registry.ARGUMENT_CHECKS, "probe", "planted_probe:arguments")
    monkeypatch.setitem(registry.PREFLIGHTS, "probe", "planted_probe:preflight")
    monkeypatch.setattr(registry, "PAIRED", frozenset({"probe"}))
    return tmp_path


def write(folder: Path, criteria: str = "hug, cross_entropy", **changes: str) -> Path:
    path = folder / "suite.yaml"
    text = SUITE.format(criteria=criteria)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def test_the_paired_baseline_is_at_hand(planted: Path) -> None:
    told: list[str] = []
    outcome = api.run(
        write(planted),
        results=planted / "results",
        data=planted / "data",
        device="cpu",
        observer=lambda event: told.append(getattr(event, "text", "")),
    )
    assert not outcome.failed
    assert "looking" in told
    by_criterion = {arm.criterion: arm for arm in outcome.comparison.groups[0].arms}
    assert set(by_criterion["cross_entropy"].values.values()) == {-1.0}
    assert all(value > 0 for value in by_criterion["hug"].values.values())
    assert by_criterion["hug"].verdict == "unreliable"
    assert by_criterion["hug"].reliability == "FAIL"
    rows = api.records(write(planted), results=planted / "results")
    assert {row["reliability"] for row in rows} == {"FAIL"}
    assert {row["reference"] for row in rows} == {None}


def test_its_models_are_those_of_the_same_seed(planted: Path) -> None:
    plan = api.plan(write(planted), results=planted / "results").plan
    assert [planned.label for planned in plan.runs] == ["cross_entropy", "hug"] * 2
    for planned in plan.runs:
        if planned.label == "cross_entropy":
            assert planned.reference is None
        else:
            assert planned.reference is not None
            assert planned.reference.seed == planned.run.seed
            assert planned.reference.criterion.name == "cross_entropy"


def test_the_key_names_the_baseline_only_where_it_is_looked_at(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys() -> list[str]:
        plan = api.plan(write(planted), results=planted / "results").plan
        return [plan.keys(planned)[0] for planned in plan.runs]

    assert len(set(keys())) == 3  # the baselines share one, each hug has that of its own baseline
    monkeypatch.setattr(registry, "PAIRED", frozenset())
    assert len(set(keys())) == 1


def test_details_are_stored_and_guarded(planted: Path) -> None:
    suite, results = write(planted), planted / "results"
    outcome = api.run(suite, results=results, data=planted / "data", device="cpu")
    planned = outcome.plan.runs[1]
    folder, key = RunFolder(results, planned.run.run_id), outcome.plan.keys(planned)[0]
    details = folder.details_file(key)
    assert json.loads(details.read_text()) == {
        "eps": pytest.approx(8 / 255),
        "data": str(planted / "data"),
        "training": False,
    }
    assert (folder.scratch(None) / "kept").read_text() == "kept"
    details.write_text("{}")
    assert folder.damaged_evaluation(folder.status(), key) is not None
    api.run(suite, results=results, data=planted / "data", device="cpu")
    assert folder.damaged_evaluation(folder.status(), key) is None


def test_a_baseline_that_failed_is_no_reference(planted: Path) -> None:
    loss = planted / "breaks.py"
    loss.write_text(
        "from hugbench.criteria.softmax import CrossEntropy\n\n\n"
        "class Breaks(CrossEntropy):\n"
        "    def forward(self, features, targets):\n"
        "        if len(features) > 8:\n"
        "            raise RuntimeError('breaks')\n"
        "        return super().forward(features, targets)\n"
    )
    suite = write(
        planted,
        f"hug, {{name: broken, {loss}:Breaks: {{}}}}",
        **{"baseline: cross_entropy": "baseline: broken"},
    )
    outcome = api.run(suite, results=planted / "results", data=planted / "data", device="cpu")
    assert len(outcome.failed) == 2
    hug = next(arm for arm in outcome.comparison.groups[0].arms if arm.criterion == "hug")
    assert set(hug.values.values()) == {-1.0}


@pytest.mark.parametrize("trained", [True, False])
def test_a_baseline_that_failed_last_time_is_waited_for(
    planted: Path, monkeypatch: pytest.MonkeyPatch, trained: bool
) -> None:
    suite, results = write(planted, **{"seeds: [0, 1]": "seeds: [0]"}), planted / "results"
    baseline, hug = api.plan(suite, results=results).plan.runs
    api.run(suite, results=results, data=planted / "data", device="cpu")
    rows = api.records(suite, results=results)
    for planned in (baseline, hug):
        folder = RunFolder(results, planned.run.run_id)
        status = folder.status()
        status.evaluations = []
        if planned is baseline:
            status.state, status.error = "failed", "OutOfMemoryError: other runs were at the GPU"
            if not trained:
                folder.model.unlink()
        folder.write_status(status)
    monkeypatch.setattr(order, "longest_first", lambda runs: runs[::-1])  # as on several workers
    started: list[str] = []

    def observe(event: object) -> None:
        if isinstance(event, RunStarted):
            started.append(event.run_id)

    outcome = api.run(suite, results=results, data=planted / "data", device="cpu", observer=observe)
    assert not outcome.failed
    assert started == ([] if trained else [baseline.run.run_id])
    assert api.records(suite, results=results) == rows


def test_a_moment_that_the_baseline_never_had_has_no_reference(planted: Path) -> None:
    suite = write(
        planted,
        "hug, {name: shorter, cross_entropy: {}, recipe: {epochs: 2}}",
        **{
            "baseline: cross_entropy": "baseline: shorter",
            "epochs: 1,": "epochs: 3, snapshot_every: 1,",
            "[{probe: {eps: 8/255}}]": "[{probe: {eps: 8/255}, evaluate_after: each}]",
            "seeds: [0, 1]": "seeds: [0]",
        },
    )
    outcome = api.run(suite, results=planted / "results", data=planted / "data", device="cpu")
    assert not outcome.failed
    rows = api.records(suite, results=planted / "results")
    found = {row["epoch"]: row["value"] for row in rows if row["criterion"] == "hug"}
    assert found.keys() == {1, 2, None}
    assert found[2] == -1
    assert min(found[1], found[None]) > 0


def test_a_baseline_whose_weights_are_damaged_is_told_and_trained_again(planted: Path) -> None:
    results, data = planted / "results", planted / "data"
    plan = api.plan(write(planted), results=results).plan
    baseline, hug = plan.runs[:2]
    place = Place(data, results, torch.device("cpu"))
    assert execute(baseline, plan.evaluations, place, lambda event: None) == "done"
    model = RunFolder(results, baseline.run.run_id).model
    whole = model.read_bytes()
    for damage in (lambda: model.write_bytes(whole[:-4] + b"abcd"), model.unlink):
        damage()
        assert execute(hug, plan.evaluations, place, lambda event: None) == "failed"
        error = RunFolder(results, hug.run.run_id).status().error
        assert error is not None
        assert "the baseline is trained again" in error
        assert execute(baseline, plan.evaluations, place, lambda event: None) == "done"
        assert model.read_bytes() == whole
    assert execute(hug, plan.evaluations, place, lambda event: None) == "done"


def test_a_run_waits_for_its_baseline(planted: Path) -> None:
    results, data = planted / "results", planted / "data"
    plan = api.plan(write(planted), results=results).plan
    baseline, hug = plan.runs[:2]
    place = Place(data, results, torch.device("cpu"))

    def carry_out(planned: PlannedRun) -> str:
        return execute(planned, plan.evaluations, place, lambda event: None)

    assert carry_out(hug) == "waiting"
    assert RunFolder(results, hug.run.run_id).status().state == "trained"
    assert carry_out(baseline) == "done"
    assert carry_out(hug) == "done"


@pytest.mark.parametrize(
    ("size", "words"), [("6", "too many; "), ("5", "too many for the data"), ("0", "greater than 0")]
)
def test_an_evaluations_own_checks_come_before_any_work(planted: Path, size: str, words: str) -> None:
    suite = write(planted, **{"eps: 8/255": f"eps: 8/255, size: {size}"})
    with pytest.raises(UserError) as error:
        api.run(suite, results=planted / "results", data=planted / "data", device="cpu")
    assert words.strip("; ") in str(error.value)
    assert not list((planted / "results").glob("runs/*"))


@pytest.mark.parametrize("eps", ["-1/255", "0", "8/0", "eight", "true", "[1]"])
def test_a_radius_that_is_none_is_refused(planted: Path, eps: str) -> None:
    with pytest.raises(UserError, match=r"fraction such as 8/255|radius above 0"):
        api.validate(write(planted, **{"eps: 8/255": f"eps: {eps}"}))
