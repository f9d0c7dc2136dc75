"""Baselines: every shipped one is sound, and each is an arm of a suite by its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from hugbench.criteria.build import build_criterion
from hugbench.errors import UserError
from hugbench.registry import CRITERIA
from hugbench.suite.baselines import read_baseline, shipped_baselines
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import make_plan
from tests.unit.suite.conftest import BASE

VARIANTS = {"label_smoothing": "cross_entropy"}
"""Shipped baselines that are another criterion with arguments of its own."""

MINE = """\
criterion:
  hug: {alpha: 0.5, uniformity: mhe}
recipe: {lr: 0.3, augment: {crop: 2}}
tuned: true
citation: {authors: A. Author, title: A title., venue: V, year: 2020, arxiv: "2001.00001"}
notes: Words.
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    return path


def test_every_criterion_has_a_baseline_of_its_name() -> None:
    shipped = shipped_baselines()
    assert set(shipped) == {*CRITERIA, *VARIANTS}
    for name, file in shipped.items():
        assert read_baseline(file).criterion == VARIANTS.get(name, name)


@pytest.mark.parametrize("name", sorted(shipped_baselines()))
def test_a_shipped_baseline_is_valid_and_builds(name: str, suite_file) -> None:
    """Its arguments, its recipe and its citation; and the criterion is one of ten classes."""
    first = "focal" if name == "cross_entropy" else "cross_entropy"
    suite = load_suite(suite_file(criteria=f"[{first}, baselines/{name}.yaml]", baseline=first))
    arm = suite.arms[1]
    assert arm.label == name
    assert make_plan(suite).labels == (first, name)
    build_criterion(arm.criterion, 16, 10)
    text = read_baseline(shipped_baselines()[name]).text
    assert text.notes
    assert text.citation is not None
    assert str(text.citation).startswith(text.citation.authors)
    assert 1980 <= text.citation.year <= 2026


def test_a_path_is_the_criterion_with_its_own_recipe(suite_file, mine: Path) -> None:
    suite = load_suite(suite_file(criteria="[cross_entropy, mine.yaml]"))
    arm = suite.arms[1]
    assert (arm.label, arm.criterion.name, arm.criterion.values()["alpha"]) == ("mine", "hug", 0.5)
    recipe = suite.recipes[0].arms[1][0].spec
    assert (recipe.lr, recipe.augment.crop, recipe.epochs) == (0.3, 2, 2)
    assert suite.recipes[0].arms[0][0].spec.lr == 0.1


def test_what_stands_beside_the_path_comes_on_top(suite_file, mine: Path) -> None:
    entry = "{name: other, mine.yaml: {alpha: 0.7}, recipe: {lr: 0.4, augment: {flip: true}}}"
    suite = load_suite(suite_file(criteria=f"[cross_entropy, {entry}]"))
    arm, recipe = suite.arms[1], suite.recipes[0].arms[1][0].spec
    assert (arm.label, arm.criterion.values()["alpha"]) == ("other", 0.7)
    assert arm.criterion.values()["uniformity"] == "mhe"
    assert (recipe.lr, recipe.augment.crop, recipe.augment.flip) == (0.4, 2, True)


def test_a_baseline_is_the_same_run_as_its_parts_written_out(suite_file, mine: Path) -> None:
    by_path = make_plan(load_suite(suite_file(criteria="[cross_entropy, mine.yaml]")))
    inline = "{hug: {alpha: 0.5, uniformity: mhe}, recipe: {lr: 0.3, augment: {crop: 2}}}"
    written = make_plan(load_suite(suite_file(criteria=f"[cross_entropy, {inline}]")))
    assert [p.run.run_id for p in by_path.runs] == [p.run.run_id for p in written.runs]


def test_on_the_command_line_with_settings(suite_file, mine: Path, monkeypatch) -> None:
    monkeypatch.chdir(mine.parent)
    suite = load_suite(
        suite_file(),
        criteria=["mine.yaml", "baselines/normface.yaml"],
        settings=["criteria.mine.mine.alpha=0.9", "criteria.normface.scale=7", "criteria.mine.recipe.lr=2"],
    )
    assert [arm.label for arm in suite.arms] == ["cross_entropy", "hug", "mine", "normface"]
    assert suite.arms[2].criterion.values()["alpha"] == 0.9
    assert suite.arms[3].criterion.values()["scale"] == 7.0
    assert suite.recipes[0].arms[2][0].spec.lr == 2


def test_settings_of_the_whole_list_keep_what_the_command_line_adds(suite_file) -> None:
    suite = load_suite(suite_file(), criteria=["normface"], settings=["criteria=[cross_entropy, focal]"])
    assert [arm.label for arm in suite.arms] == ["cross_entropy", "focal", "normface"]


def test_the_suites_folder_comes_before_the_current_one_and_that_before_the_shipped(
    tmp_path: Path, monkeypatch
) -> None:
    def scale() -> float:
        suite = load_suite(folder / "suite.yaml")
        return float(suite.arms[1].criterion.values()["scale"])

    folder, current = tmp_path / "suites", tmp_path / "current"
    for place in (folder, current):
        (place / "baselines").mkdir(parents=True)
    (folder / "suite.yaml").write_text(BASE.replace("hug]", "baselines/normface.yaml]"))
    monkeypatch.chdir(current)
    assert scale() == read_baseline(shipped_baselines()["normface"]).arguments.at(("scale",)).value
    (current / "baselines" / "normface.yaml").write_text("criterion: {normface: {scale: 2.0}}\n")
    assert scale() == 2
    (folder / "baselines" / "normface.yaml").write_text("criterion: {normface: {scale: 3.0}}\n")
    assert scale() == 3


def test_paths_in_a_baseline_start_from_its_own_folder(suite_file, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "loss.py").write_text("class Loss:\n    def __init__(self, gain: float = 1.0): ...\n")
    (own / "tuned.yaml").write_text("criterion: {loss.py:Loss: {gain: 2.0}}\n")
    arm = load_suite(suite_file(criteria="[cross_entropy, own/tuned.yaml]")).arms[1]
    assert (arm.label, arm.criterion.kind, arm.criterion.values()) == ("tuned", "file", {"gain": 2.0})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("criterion: hug\nrecipee: {}\n", ["mine.yaml:2:1", "recipee: unknown key", "did you mean 'recipe'"]),
        ("recipe: {}\n", ["mine.yaml:1:1", "criterion: missing key"]),
        ("criterion: hugg\n", ["mine.yaml:1:1", "unknown criterion", "did you mean 'hug'"]),
        ("criterion: {hug: {alhpa: 1}}\n", ["mine.yaml:1:19", "hug.alhpa", "did you mean 'alpha'"]),
        ("criterion: {hug: {}, focal: {}}\n", ["mine.yaml:1:12", "not one criterion"]),
        ("criterion: {}\n", ["criterion: not one criterion"]),
        ("criterion: 3\n", ["criterion: not one criterion", "found 3"]),
        ("criterion: mine.yaml\n", ["criterion: not one criterion"]),
        ("criterion: hug\nrecipe: fast\n", ["mine.yaml:2:9", "recipe", "a mapping of keys"]),
        ("criterion: hug\nrecipe: {epoch: 2}\n", ["mine.yaml:2:10", "epoch", "did you mean 'epochs'"]),
        ("criterion: hug\nrecipe: {lr: -1}\n", ["mine.yaml:2:14", "recipe.lr"]),
        ("criterion: hug\ntuned: yes\n", ["mine.yaml:2:8", "tuned", "true or false"]),
        ("criterion: hug\ncitation: {authors: A}\n", ["citation.title: missing key"]),
        ("criterion: hug\ncitation: {auhtors: A}\n", ["citation.auhtors", "did you mean 'authors'"]),
        ("- hug\n", ["mine.yaml:1:1", "a mapping of keys"]),
        ("", ["mine.yaml", "is empty", "a baseline"]),
        ("criterion: [\n", ["mine.yaml", "not YAML"]),
    ],
)
def test_a_bad_baseline_gets_one_line_with_its_own_place(suite_file, mine: Path, text, words) -> None:
    mine.write_text(text)
    with pytest.raises(UserError) as caught:
        load_suite(suite_file(criteria="[cross_entropy, mine.yaml]"))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(mine))
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("baselines/normfase.yaml", ["no such baseline", "did you mean 'baselines/normface.yaml'"]),
        ("elsewhere/normface.yaml", ["no such baseline", "did you mean 'baselines/normface.yaml'"]),
        ("baselines/normface.yml", ["no such baseline", "did you mean 'baselines/normface.yaml'"]),
        ("{mine.yaml: {}, hug: {}}", ["not one criterion"]),
        ("{mine.yaml: {}, baselines/hug.yaml: {}}", ["not one criterion"]),
        ("{mine.yaml: {alhpa: 1}}", ["hug.alhpa: unknown key", "did you mean 'alpha'"]),
        ("{mine.yaml: {}, recipe: {lr: no}}", ["recipe.lr"]),
        ("{mine.yaml: {}, name: 'a b'}", ["not a name"]),
    ],
)
def test_bad_entries_get_one_line_with_the_suites_place(suite_file, mine: Path, entry, words) -> None:
    with pytest.raises(UserError) as caught:
        load_suite(suite_file(criteria=f"[cross_entropy, {entry}]"))
    message = str(caught.value)
    assert "suite.yaml:6:" in message
    for word in words:
        assert word in message


def test_two_arms_of_one_label_are_refused(suite_file, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two criteria of one name"):
        load_suite(suite_file(criteria="[cross_entropy, hug, baselines/hug.yaml]"))
