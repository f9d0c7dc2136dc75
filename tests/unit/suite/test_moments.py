"""At which moments a run is evaluated, and what of it is asked when."""

from __future__ import annotations

import pytest

from hugbench.errors import UserError
from hugbench.suite.loader import load_suite
from hugbench.suite.moments import Moment
from hugbench.suite.plan import asked, make_plan


def plan(write, evaluations: str, **recipe: int):
    return make_plan(load_suite(write(evaluations=evaluations, **recipe)))


@pytest.fixture
def write(tmp_path):
    def made(evaluations: str, snapshot_every: int | None = None) -> str:
        path = tmp_path / "suite.yaml"
        path.write_text(
            "criteria: [cross_entropy]\nbaseline: cross_entropy\ndataset: digits\nmodel: test_resnet\n"
            f"recipe: {{epochs: 7, batch_size: 8, lr: 0.1, snapshot_every: {snapshot_every or 'null'}}}\n"
            f"seeds: [0]\nevaluations: {evaluations}\n"
        )
        return str(path)

    return made


@pytest.mark.parametrize(
    ("moment", "name"),
    [
        (Moment(), "end"),
        (Moment(epoch=10), "epoch-10"),
        (Moment(experience=0), "experience-0"),
        (Moment(experience=3, epoch=2), "experience-3-epoch-2"),
    ],
)
def test_names(moment: Moment, name: str) -> None:
    assert moment.name == name


def test_each_asks_at_every_snapshot_and_last_at_the_end(write) -> None:
    made = plan(write, "[{accuracy: {bins: 9}, evaluate_after: each}, accuracy]", snapshot_every=3)
    run = made.runs[0].run
    assert run.moments == (Moment(epoch=3), Moment(epoch=6), Moment())
    first, second = made.evaluations
    assert [question.key for question in asked(made.runs[0], made.evaluations)] == [
        first.key,
        second.key,
        f"{first.key}.epoch-3",
        f"{first.key}.epoch-6",
    ]
    assert made.keys(made.runs[0])[0] == first.key


def test_a_snapshot_at_the_end_is_the_end(write) -> None:
    assert plan(write, "[accuracy]", snapshot_every=7).runs[0].run.moments == (Moment(),)


def test_neither_snapshots_nor_when_it_is_asked_make_another_model_or_evaluation(write) -> None:
    one = plan(write, "[accuracy]")
    other = plan(write, "[{accuracy: null, evaluate_after: each}]", snapshot_every=2)
    assert one.runs[0].run.run_id == other.runs[0].run.run_id
    assert one.evaluations[0].key == other.evaluations[0].key


@pytest.mark.parametrize(
    ("evaluations", "message"),
    [
        ("[{accuracy: null, evaluate_after: eech}]", "evaluate_after.*eech.*each"),
        ("[{accuracy: null, evaluate_after: [each]}]", "evaluate_after"),
        ("[{evaluate_after: each}]", "not an evaluation"),
        ("[{accuracy: null, after: each}]", "not an evaluation"),
        ("[accuracy, {accuracy: null, evaluate_after: each}]", "the same evaluation twice"),
    ],
)
def test_bad_input(write, evaluations: str, message: str) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        load_suite(write(evaluations))


def test_an_evaluation_asked_twice_says_in_its_label_what_differs(write) -> None:
    made = plan(write, "[accuracy, {accuracy: {bins: 9}}, {accuracy: {bins: 20}}]")
    assert [spec.label for spec in made.evaluations] == [
        "accuracy(bins=15)",
        "accuracy(bins=9)",
        "accuracy(bins=20)",
    ]
    assert [spec.label for spec in plan(write, "[{accuracy: {bins: 9}}]").evaluations] == ["accuracy"]
