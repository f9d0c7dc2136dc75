"""Runs as their folders tell of them, and what sets runs from several places apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hugbench.results.folders import folder_runs, told_apart
from hugbench.results.measured import Measured
from hugbench.results.store import RunFolder, Status
from hugbench.suite import plugins
from hugbench.suite.nodes import Node

SPECIFICATION = {
    "criterion": {"name": "hug", "arguments": {"alpha": 0.1, "beta": None}},
    "dataset": {"name": "digits", "max_train": 100, "resident": "auto"},
    "model": {"backbone": "test_resnet"},
    "protocol": {"name": "standard"},
    "recipe": {"epochs": 2, "lr": 0.1, "snapshot_every": None},
}
DEFAULT = plugins.evaluation("accuracy", Node(None, "here"), "here").key


def changed(path: str, value: Any) -> dict[str, Any]:
    """The specification with one field that differs, or, with `...`, that is not there."""
    made: dict[str, Any] = yaml.safe_load(yaml.safe_dump(SPECIFICATION))
    *parents, last = path.split(".")
    place = made
    for name in parents:
        place = place[name]
    place[last] = value
    if value is ...:
        del place[last]
    return made


def run(specification: dict[str, Any], number: int, label: str = "hug") -> Measured:
    folder = RunFolder(Path("results"), f"{label}-{number}")
    block = specification["dataset"]["name"], "test_resnet", "standard", ""
    return Measured(folder, Status(), label, block, 0, {}, None, lambda: specification)


def written(root: Path, name: str, seed: int, keys: list[str]) -> Path:
    folder = RunFolder(root, name)
    folder.path.mkdir(parents=True)
    told = {"run_id": name, **SPECIFICATION, "seed": seed, "criterion_as_built": "HUG(" + "x, " * 60 + ")"}
    (folder.path / "run.yaml").write_text(yaml.safe_dump(told, sort_keys=False))
    folder.write_status(Status("trained", evaluations=keys))
    return folder.path


def test_a_folder_tells_criterion_block_and_seed(tmp_path: Path) -> None:
    paths = [written(tmp_path, f"hug-{seed}", seed, [DEFAULT, f"{DEFAULT}.epoch-1"]) for seed in (3, 4)]
    (first, second), notes = folder_runs(paths)
    assert notes == []
    assert (first.label, first.seed, second.seed) == ("hug", 3, 4)
    assert first.block == ("digits", "test_resnet", "standard", "")
    assert first.questions == {DEFAULT: "accuracy", f"{DEFAULT}.epoch-1": "accuracy"}
    assert first.specification() == second.specification() == SPECIFICATION
    assert first.folder.path == paths[0]


def test_evaluations_with_other_arguments_have_their_hash(tmp_path: Path) -> None:
    paths = [
        written(tmp_path, "hug-0", 0, [DEFAULT, "accuracy-0123456789"]),
        written(
            tmp_path, "hug-1", 1, ["accuracy-0123456789", "adversarial-1111111111", "adversarial-2222222222"]
        ),
        written(tmp_path, "hug-2", 2, ["adversarial-3333333333"]),
    ]
    runs, _ = folder_runs(paths)
    assert runs[0].questions == {DEFAULT: "accuracy", "accuracy-0123456789": "accuracy(0123456789)"}
    assert list(runs[1].questions.values()) == ["accuracy(0123456789)", "adversarial", "adversarial(2)"]
    assert list(runs[2].questions.values()) == ["adversarial"]


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    good = written(tmp_path, "hug-0", 0, [])
    for number, text in enumerate(["", "criterion: [", "[1]", "criterion: {}\nseed: 1\n"], 1):
        path = tmp_path / "runs" / f"hug-{number}"
        path.mkdir()
        (path / "run.yaml").write_text(text)
    paths = sorted((tmp_path / "runs").iterdir())
    runs, notes = folder_runs([*paths, tmp_path / "absent"])
    assert [found.folder.path for found in runs] == [good]
    assert len(notes) == 5


def test_data_model_and_protocol_set_blocks_apart() -> None:
    (runs,), notes = told_apart([run(SPECIFICATION, 0), run(changed("dataset.max_train", 200), 1)])
    assert [found.block[3] for found in runs] == ["dataset.max_train=100", "dataset.max_train=200"]
    assert "differ in dataset.max_train (100, 200): shown apart, not compared" in notes[0]
    assert "only runs of the same data" in notes[1]


def test_criterion_and_recipe_set_labels_apart() -> None:
    (runs,), notes = told_apart(
        [
            run(SPECIFICATION, 0),
            run(changed("criterion.arguments.beta", 2.0), 1),
            run(changed("recipe.lr", 0.3), 2),
        ]
    )
    assert [found.label for found in runs] == [
        "hug(recipe.lr=0.1)",
        "hug(beta=2.0, recipe.lr=0.1)",
        "hug(recipe.lr=0.3)",
    ]
    assert len(notes) == 1
    assert "recipe.lr (0.1, 0.3): a difference is not the criterion's alone" in notes[0]


def test_a_block_that_is_null_elsewhere_sets_labels_apart() -> None:
    weights = {"kind": "inverse", "after": 0.5}
    sides = [run(changed("recipe.class_weights", None), 0), run(changed("recipe.class_weights", weights), 1)]
    (runs,), notes = told_apart([*sides, run(SPECIFICATION, 2)])
    told = "hug(recipe.class_weights.kind=inverse, recipe.class_weights.after=0.5)"
    assert [found.label for found in runs] == ["hug", told, "hug"]
    assert "recipe.class_weights.kind (inverse)" in notes[0]


def test_what_leaves_the_model_alone_or_is_absent_is_no_difference() -> None:
    others = [
        changed("recipe.snapshot_every", 1),
        changed("dataset.resident", "never"),
        changed("criterion.arguments.beta", ...),
        changed("model.stem", "cifar"),
    ]
    (runs,), notes = told_apart(
        [run(SPECIFICATION, 0), *(run(other, i) for i, other in enumerate(others, 1))]
    )
    assert {(found.label, found.block[3]) for found in runs} == {("hug", "")}
    assert notes == []


def test_the_same_run_counts_once() -> None:
    assert len(told_apart([run(SPECIFICATION, 0), run(SPECIFICATION, 0)])[0][0]) == 1


def test_a_side_before_shares_blocks_and_evaluations_with_that_after(tmp_path: Path) -> None:
    before, _ = folder_runs([written(tmp_path / "old", "hug-0", 0, ["accuracy-0123456789"])])
    after, _ = folder_runs([written(tmp_path / "new", "hug-0", 0, [DEFAULT, "accuracy-0123456789"])])
    assert list(before[0].questions.values()) == ["accuracy"]
    for sides in ((before, after), (after, before)):
        found, _ = told_apart(*sides)
        by_key = [{key: label for run in side for key, label in run.questions.items()} for side in found]
        assert by_key[0]["accuracy-0123456789"] == by_key[1]["accuracy-0123456789"]
        assert len({label for questions in by_key for label in questions.values()}) == 2


def test_other_data_after_a_change_is_not_compared_and_another_recipe_is_said() -> None:
    (before, after), notes = told_apart([run(SPECIFICATION, 0)], [run(changed("dataset.max_train", 200), 1)])
    assert before[0].block != after[0].block
    assert "differ in dataset.max_train (100, 200): shown apart, not compared" in notes[0]
    (before, after), notes = told_apart([run(SPECIFICATION, 0)], [run(changed("recipe.lr", 0.3), 1)])
    assert (before[0].block, before[0].label) == (after[0].block, after[0].label)
    assert notes == ["hug on digits is not the same before and after: recipe.lr (0.1, 0.3)"]


def test_held_out_images_are_called_so_without_a_suite(tmp_path: Path) -> None:
    node = Node({"split": Node("validation", "here")}, "here")
    key = plugins.evaluation("accuracy", node, "here").key
    (found,), _ = folder_runs([written(tmp_path, "hug-0", 0, [key])])
    assert found.questions == {key: "accuracy(split=validation)"}
