"""A suite is checked whole: every bad input gets one line with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hugbench.errors import UserError
from hugbench.suite.loader import load_suite
from tests.unit.suite.conftest import BASE


def test_a_suite_is_typed(suite_file) -> None:
    suite = load_suite(
        suite_file(criteria="[cross_entropy, {name: h, hug: {alpha: 0.5}, recipe: {lr: 0.3}}]")
    )
    assert suite.name == "suite"
    assert [arm.label for arm in suite.arms] == ["cross_entropy", "h"]
    assert suite.arms[1].criterion.values()["alpha"] == 0.5
    assert suite.recipes[0].arms[0][0].spec.lr == 0.1
    assert suite.recipes[0].arms[1][0].spec.lr == 0.3
    assert suite.seeds == (0, 1)
    assert suite.evaluations[0].name == "accuracy"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ({"recipee": "{epochs: 2}"}, ["suite.yaml:7:1: recipee: unknown key", "did you mean 'recipe'"]),
        (
            {"recipe": "{epoch: 2, batch_size: 64, lr: 0.1}"},
            ["recipe.epoch: unknown key", "did you mean 'epochs'"],
        ),
        (
            {"recipe": "{epochs: '2', batch_size: 64, lr: 0.1}"},
            ["suite.yaml:6:18: recipe.epochs", "found '2'", "a whole number"],
        ),
        (
            {"recipe": "{epochs: 2.5, batch_size: 64, lr: 0.1}"},
            ["recipe.epochs", "found 2.5", "a whole number"],
        ),
        ({"recipe": "{epochs: 2, batch_size: 64}"}, ["recipe.lr: missing key"]),
        ({"recipe": "{epochs: 2, batch_size: 64, lr: .nan}"}, ["recipe.lr", "finite"]),
        ({"recipe": "{epochs: 2, batch_size: 64, lr: .inf}"}, ["recipe.lr", "finite"]),
        ({"recipe": "{epochs: 2, batch_size: 64, lr: 1e999}"}, ["recipe.lr", "finite"]),
        ({"recipe": "{epochs: 2, batch_size: 64, lr: -1}"}, ["recipe.lr", "greater than or equal to 0"]),
        ({"recipe": "{epochs: 0, batch_size: 64, lr: 1}"}, ["recipe.epochs", "greater than 0"]),
        (
            {"recipe": "{epochs: 2, batch_size: 64, lr: 1, optimizer: sdg}"},
            ["recipe.optimizer", "did you mean 'sgd'"],
        ),
        (
            {"recipe": "{epochs: 2, batch_size: 64, lr: 1, schedule: multistep}"},
            ["recipe", "needs milestones"],
        ),
        (
            {"recipe": "{epochs: 2, batch_size: 64, lr: 1, nesterov: true, momentum: 0.0}"},
            ["recipe", "nesterov"],
        ),
        ({"recipe": "{epochs: 2, batch_size: 64, lr: 1, betas: [0.9, 0.99]}"}, ["recipe", "betas belong to"]),
        ({"recipe": "{epochs: 2, batch_size: 64, lr: [0.1, 0.1]}"}, ["recipe.lr", "same value twice"]),
        ({"recipe": "{epochs: 2, batch_size: 64, lr: []}"}, ["recipe.lr", "an empty list"]),
        (
            {"recipe": "{epochs: 2, batch_size: 64, lr: 1, augment: {flipp: true}}"},
            ["recipe.augment.flipp", "did you mean 'flip'"],
        ),
        ({"recipe": "fast"}, ["recipe", "found 'fast'"]),
        ({"recipe": "null"}, ["recipe", "null"]),
        (
            {"model": "resnet81"},
            ["suite.yaml:6:8: model.backbone: unknown backbone", "did you mean 'resnet18'"],
        ),
        ({"model": "{backbone: test_resnet, stem: imagenet}"}, ["model.stem"]),
        ({"criteria": "[cross_entropy, hugg]"}, ["unknown criterion", "did you mean 'hug'"]),
        (
            {"criteria": "[cross_entropy, {hug: {alhpa: 1}}]"},
            ["hug.alhpa: unknown key", "did you mean 'alpha'"],
        ),
        ({"criteria": "[cross_entropy, {hug: {alpha: -1}}]"}, ["hug.alpha"]),
        ({"criteria": "[cross_entropy, {hug: {uniformity: mhx}}]"}, ["hug.uniformity", "mhe"]),
        ({"criteria": "[cross_entropy, hug, {hug: {alpha: 1}}]"}, ["two criteria of one name"]),
        ({"criteria": "[cross_entropy, {hug: {}, cross_entropy: {}}]"}, ["not one criterion"]),
        ({"criteria": "[]"}, ["criteria", "at least one criterion"]),
        ({"criteria": "cross_entropy"}, ["criteria", "at least one criterion"]),
        ({"criteria": "[cross_entropy, 3]"}, ["not a criterion"]),
        ({"criteria": "[cross_entropy, torch.nn.NoSuchLoss]"}, ["no such class"]),
        ({"criteria": "[cross_entropy, no_such_package.Loss]"}, ["no such module"]),
        ({"criteria": "[cross_entropy, missing.py:Loss]"}, ["no such file"]),
        ({"baseline": "hog"}, ["baseline is not among the criteria", "did you mean 'hug'"]),
        (
            {"criteria": "[{cross_entropy: {}, recipe: {lr: [1, 2]}}, hug]"},
            ["baseline's own recipe has an axis"],
        ),
        ({"seeds": "[]"}, ["seeds: no seeds"]),
        ({"seeds": "[0, 1, 0]"}, ["suite.yaml:6:15: seeds.2: the same seed twice"]),
        ({"seeds": "[0, -1]"}, ["seeds.1: not a seed"]),
        ({"seeds": "[0, true]"}, ["seeds.1: not a seed"]),
        ({"seeds": "3"}, ["seeds: no seeds"]),
        ({"evaluations": "[acuracy]"}, ["unknown evaluation", "did you mean 'accuracy'"]),
        ({"evaluations": "[{accuracy: {bin: 3}}]"}, ["accuracy.bin: unknown key", "did you mean 'bins'"]),
        ({"evaluations": "[accuracy, accuracy]"}, ["same evaluation twice"]),
        (
            {"evaluations": "[{accuracy: {split: validation}}]"},
            ["no validation images", "dataset.validation"],
        ),
        ({"evaluations": "[]"}, ["not a list of evaluations"]),
        ({"protocol": "standart"}, ["unknown protocol", "did you mean 'standard'"]),
        ({"dataset": "{name: digits, validation: 1.0}"}, ["dataset.validation", "less than 1"]),
        (
            {"dataset": "{name: digits, long_tail: {imbalance_factor: 0.5}}"},
            [
                "suite.yaml:6:55: dataset.long_tail.imbalance_factor",
                "found 0.5",
                "greater than or equal to 1",
            ],
        ),
        (
            {"dataset": "{name: digits, long_tail: {imbalance_factr: 10}}"},
            ["dataset.long_tail.imbalance_factr: unknown key", "did you mean 'imbalance_factor'"],
        ),
        ({"dataset": "{name: digits, long_tail: {}}"}, ["dataset.long_tail.imbalance_factor: missing key"]),
        ({"dataset": "{name: digits, long_tail: 100}"}, ["dataset.long_tail", "found 100", "a mapping"]),
        (
            {"dataset": "{name: digits, long_tail: {imbalance_factor: 10, profile: exponentiall}}"},
            ["dataset.long_tail.profile", "did you mean 'exponential'"],
        ),
        (
            {"dataset": "{name: digits, long_tail: {imbalance_factor: [10, 10]}}"},
            ["dataset.long_tail.imbalance_factor", "same value twice"],
        ),
        (
            {"recipe": "{epochs: 2, batch_size: 64, lr: 1, sampling: balanced}"},
            ["recipe.sampling", "did you mean 'class_balanced'"],
        ),
        (
            {"recipe": "{epochs: 2, batch_size: 64, lr: 1, sampling_after: 0.5}"},
            ["recipe", "sampling_after belongs to sampling class_balanced"],
        ),
        (
            {"recipe": "{epochs: 2, batch_size: 64, lr: 1, class_weights: {beta: 0.9}}"},
            ["recipe.class_weights.kind: missing key"],
        ),
        (
            {
                "recipe": "{epochs: 2, batch_size: 64, lr: 1, class_weights: {kind: effective_number, after: 1}}"
            },
            ["recipe.class_weights.after", "less than 1"],
        ),
        (
            {
                "recipe": "{epochs: 2, batch_size: 64, lr: 1, class_weights: {kind: inverse_frequency, beta: 0.9}}"
            },
            ["recipe.class_weights: beta belongs to kind effective_number"],
        ),
        (
            {
                "criteria": "[cross_entropy, {ldam: {}, recipe: {class_weights: {kind: inverse_frequency}}}]",
            },
            [
                "suite.yaml:6:47: recipe.class_weights: ldam weighs the classes itself",
                "those that take them are arcface, balanced_softmax",
            ],
        ),
        (
            {
                "criteria": "[cross_entropy, torch.nn.MultiMarginLoss]",
                "recipe": "{epochs: 2, batch_size: 64, lr: 1, class_weights: {kind: inverse_frequency}}",
            },
            ["recipe.class_weights: MultiMarginLoss takes no class weights", "null in its own recipe"],
        ),
        ({"name": "'../escape'"}, ["name: not a name"]),
        ({"description": "[1]"}, ["description: not a text"]),
    ],
)
def test_bad_suites_get_one_line_with_place_and_remedy(
    suite_file, lines: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        load_suite(suite_file(**lines))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(Path(suite_file(**lines)).parent))
    for word in words:
        assert word in message


@pytest.mark.parametrize("key", ["criteria", "baseline", "dataset", "model", "recipe", "seeds"])
def test_a_missing_key_is_named(suite_file, key: str) -> None:
    text = "\n".join(line for line in BASE.splitlines() if not line.startswith(key))
    with pytest.raises(UserError, match=f"{key}: missing key"):
        load_suite(suite_file(text))


def test_a_missing_suite_names_the_nearest_shipped_one() -> None:
    with pytest.raises(UserError, match="did you mean 'quickstart'"):
        load_suite("suites/quikstart.yaml")


def test_overrides_seeds_and_criteria_from_the_command_line(suite_file) -> None:
    suite = load_suite(
        suite_file(), settings=["recipe.epochs=7"], seeds=[5], criteria=["torch.nn.CrossEntropyLoss"]
    )
    assert suite.recipes[0].arms[0][0].spec.epochs == 7
    assert suite.seeds == (5,)
    assert suite.arms[-1].label == "CrossEntropyLoss"
    assert suite.arms[-1].criterion.kind == "dotted"


def test_class_weights_go_to_those_that_take_them(suite_file) -> None:
    weighted = "{epochs: 2, batch_size: 64, lr: 1, class_weights: {kind: effective_number, after: 0.8}}"
    suite = load_suite(
        suite_file(
            criteria="[cross_entropy, hug, {ldam: {}, recipe: {class_weights: null}}]", recipe=weighted
        )
    )
    specs = [own[0].spec.class_weights for own in suite.recipes[0].arms]
    assert [spec and (spec.kind, spec.beta, spec.after) for spec in specs] == [
        ("effective_number", 0.9999, 0.8),
        ("effective_number", 0.9999, 0.8),
        None,
    ]


@pytest.mark.parametrize(("declared", "taken"), [("weighting = 'recipe'", True), ("", False)])
def test_a_loss_of_ones_own_declares_that_it_takes_weights(
    suite_file, tmp_path: Path, declared: str, taken: bool
) -> None:
    (tmp_path / "mine.py").write_text(
        f"from hugbench import Criterion\nclass Mine(Criterion):\n    pass\n    {declared}\n"
    )
    entry = "{mine.py:Mine: {}, recipe: {class_weights: {kind: inverse_frequency}}}"
    path = suite_file(criteria=f"[cross_entropy, {entry}]")
    if taken:
        assert load_suite(path).recipes[0].arms[1][0].spec.class_weights is not None
        return
    with pytest.raises(UserError, match="Mine takes no class weights: its loss declares no part of each"):
        load_suite(path)


def test_a_file_that_is_a_loss_of_ones_own(suite_file, tmp_path: Path) -> None:
    loss = tmp_path / "mine.py"
    loss.write_text(
        "from hugbench import Criterion\n"
        "class Mine(Criterion):\n"
        "    def __init__(self, in_features, num_classes, *, weight: float = 1.0):\n"
        "        super().__init__(in_features, num_classes)\n"
    )
    suite = load_suite(suite_file(criteria="[cross_entropy, {mine.py:Mine: {weight: 2.0}}]"))
    before = suite.arms[1].criterion
    assert before.values() == {"weight": 2.0}
    loss.write_text(loss.read_text() + "\n# another loss\n")
    after = (
        load_suite(suite_file(criteria="[cross_entropy, {mine.py:Mine: {weight: 2.0}}]")).arms[1].criterion
    )
    assert before.source_sha256 != after.source_sha256
    with pytest.raises(UserError, match="did you mean 'weight'"):
        load_suite(suite_file(criteria="[cross_entropy, {mine.py:Mine: {wieght: 2.0}}]"))


WORDS = st.sampled_from(
    [
        "criteria",
        "hug",
        "cross_entropy",
        "recipe",
        "lr",
        "dataset",
        "digits",
        "model",
        "seeds",
        "name",
        "[",
        "]",
        "{",
        "}",
        ":",
        ": ",
        ",",
        "\n",
        "\n  ",
        "- ",
        "0",
        "1e-3",
        "&a",
        "*a",
        "!!x",
        "'",
        '"',
        "#",
        "~",
        "true",
        "baseline",
        "\t",
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WORDS, max_size=40))
def test_no_text_gives_a_traceback(suite_file, words: list[str]) -> None:
    try:
        load_suite(suite_file("".join(words)))
    except UserError as error:
        assert "\n" not in str(error)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_mutation_of_a_valid_suite_gives_a_traceback(suite_file, data: st.DataObject) -> None:
    text = list(BASE)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(text) - 1))
        text[position] = data.draw(
            st.sampled_from(["", " ", "\n", ":", "[", "]", "{", "x", "9", "-", "é", "\x07", "!", "&"])
        )
    try:
        load_suite(suite_file("".join(text)))
    except UserError as error:
        assert "\n" not in str(error)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_value_anywhere_is_accepted_or_refused_in_a_line(suite_file, data: st.DataObject) -> None:
    path = data.draw(
        st.sampled_from(
            [
                "criteria",
                "criteria.hug",
                "criteria.hug.alpha",
                "criteria.0.recipe",
                "baseline",
                "dataset",
                "dataset.name",
                "dataset.validation",
                "dataset.long_tail",
                "dataset.long_tail.imbalance_factor",
                "model",
                "model.backbone",
                "model.embedding_dim",
                "recipe",
                "recipe.lr",
                "recipe.betas",
                "recipe.milestones",
                "recipe.augment",
                "recipe.augment.crop",
                "recipe.sampling",
                "recipe.class_weights",
                "recipe.class_weights.kind",
                "seeds",
                "seeds.0",
                "evaluations",
                "protocol",
                "name",
            ]
        )
    )
    value = data.draw(
        st.sampled_from(
            [
                "",
                "3",
                "-1",
                "1e-3",
                ".nan",
                "[]",
                "[[]]",
                "[1, [2]]",
                "[[1, 2], [3]]",
                "{}",
                "{a: 1}",
                "[{}]",
                "true",
                "x",
                "'8/255'",
                "[digits, mnist]",
                "[[0.9, 0.99], [0.8, 0.9]]",
                "999999999999999999999999",
                "{name: [a, b]}",
            ]
        )
    )
    try:
        load_suite(suite_file(), settings=[f"{path}={value}"])
    except UserError as error:
        assert "\n" not in str(error)
