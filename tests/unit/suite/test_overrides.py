from __future__ import annotations

import pytest

from hugbench.errors import UserError
from hugbench.suite.nodes import parse
from hugbench.suite.overrides import apply

SUITE = "criteria: [cross_entropy, hug, {name: soft, hug: {alpha: 1}}]\ndataset: digits\nrecipe: {lr: 0.1}\n"


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("recipe.lr=0.5", ("recipe", "lr"), 0.5),
        ("recipe.lr=[0.1, 0.2]", ("recipe", "lr"), (0.1, 0.2)),
        ("recipe.augment.flip=true", ("recipe", "augment", "flip"), True),
        ("dataset.validation=0.1", ("dataset",), {"name": "digits", "validation": 0.1}),
        ("dataset=mnist", ("dataset",), "mnist"),
        ("criteria.hug.alpha=0.3", ("criteria", 1), {"hug": {"alpha": 0.3}}),
        ("criteria.1.hug.alpha=0.3", ("criteria", 1), {"hug": {"alpha": 0.3}}),
        ("criteria.hug.recipe.lr=0.3", ("criteria", 1), {"hug": None, "recipe": {"lr": 0.3}}),
        ("criteria.soft.hug.alpha=0.3", ("criteria", 2), {"name": "soft", "hug": {"alpha": 0.3}}),
        ("criteria.soft.hug={beta: 2}", ("criteria", 2, "hug"), {"beta": 2}),
        ("criteria.0=harmonic", ("criteria", 0), "harmonic"),
        ("recipe.ema=", ("recipe", "ema"), None),
    ],
)
def test_settings_reach_their_place(setting: str, path: tuple[str | int, ...], value: object) -> None:
    found = apply(parse(SUITE, "s"), setting).at(path)
    assert found.plain() == value


PATHS = (
    "criteria: [baselines/hug.yaml, {a/loss.py:Mine: {x: 1}}, torch.nn.MultiMarginLoss,"
    " {name: soft, baselines/hug.yaml: {alpha: 1}}]\n"
)


@pytest.mark.parametrize(
    ("setting", "index", "value"),
    [
        ("criteria.hug.alpha=2", 0, {"baselines/hug.yaml": {"alpha": 2}}),
        ("criteria.0.hug.alpha=2", 0, {"baselines/hug.yaml": {"alpha": 2}}),
        ("criteria.hug.hug={beta: 2}", 0, {"baselines/hug.yaml": {"beta": 2}}),
        ("criteria.hug.recipe.lr=2", 0, {"baselines/hug.yaml": None, "recipe": {"lr": 2}}),
        ("criteria.Mine.x=2", 1, {"a/loss.py:Mine": {"x": 2}}),
        ("criteria.1.Mine.y=2", 1, {"a/loss.py:Mine": {"x": 1, "y": 2}}),
        ("criteria.MultiMarginLoss.margin=2", 2, {"torch.nn.MultiMarginLoss": {"margin": 2}}),
        ("criteria.soft.hug.alpha=2", 3, {"name": "soft", "baselines/hug.yaml": {"alpha": 2}}),
        ("criteria.soft.name=hard", 3, {"name": "hard", "baselines/hug.yaml": {"alpha": 1}}),
    ],
)
def test_a_criterion_by_path_goes_by_its_last_part(setting: str, index: int, value: object) -> None:
    assert apply(parse(PATHS, "s"), setting).at(("criteria", index)).plain() == value


def test_the_rest_stays_as_it_was() -> None:
    before = parse(SUITE, "s")
    after = apply(before, "recipe.lr=1.5")
    assert after.plain() == {**before.plain(), "recipe": {"lr": 1.5}}
    assert after.at(("dataset",)).mark == before.at(("dataset",)).mark


def test_an_error_names_the_setting_as_its_place() -> None:
    assert apply(parse(SUITE, "s"), "recipe.lr=x").at(("recipe", "lr")).where == "--set recipe.lr=x"


@pytest.mark.parametrize(
    "setting",
    ["recipe.lr", "=1", "recipe..lr=1", "criteria.9.hug=1", "criteria.huge.alpha=1", "recipe.lr=[1", "a=*b"],
)
def test_bad_settings_are_refused(setting: str) -> None:
    with pytest.raises(UserError, match="--set"):
        apply(parse(SUITE, "s"), setting)
