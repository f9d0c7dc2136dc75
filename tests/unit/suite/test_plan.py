from __future__ import annotations

import hashlib
import json
import pickle

import pytest

from hugbench.data.longtail import kept_counts
from hugbench.errors import UserError
from hugbench.suite.loader import load_suite, shipped_suites
from hugbench.suite.plan import make_plan, smoke
from hugbench.suite.schema import ClassWeights


def ids(path, **options) -> list[str]:
    return [planned.run.run_id for planned in make_plan(load_suite(path, **options)).runs]


def test_lists_are_axes_and_the_plan_is_their_product(suite_file) -> None:
    plan = make_plan(
        load_suite(
            suite_file(
                dataset="[digits, mnist]",
                model="{backbone: test_resnet, embedding_dim: [32, 64]}",
                recipe="{epochs: 4, batch_size: 64, lr: [0.1, 0.2], schedule: multistep, milestones: [[1], [1, 2]]}",
            )
        )
    )
    assert len(plan.runs) == 2 * 2 * 2 * 2 * 2 * 2  # data, width, lr, milestones, criteria, seeds
    assert len(plan.distinct()) == len(plan.runs)
    assert plan.runs[0].variant == (
        "dataset=digits, model.embedding_dim=32, recipe.lr=0.1, recipe.milestones=(1,)"
    )
    assert {planned.run.recipe.milestones for planned in plan.runs} == {(1,), (1, 2)}


def test_axes_reach_into_a_mapping_that_may_be_null(suite_file) -> None:
    plan = make_plan(
        load_suite(
            suite_file(
                dataset="{name: digits, long_tail: {imbalance_factor: [10, 50.5], profile: step}}",
                seeds="[0]",
            )
        )
    )
    assert list(dict.fromkeys(planned.variant for planned in plan.runs)) == [
        "dataset.long_tail.imbalance_factor=10",
        "dataset.long_tail.imbalance_factor=50.5",
    ]
    assert {p.run.dataset.long_tail.profile for p in plan.runs} == {"step"}


def test_a_mapping_that_may_be_null_is_an_axis_of_its_own(suite_file) -> None:
    written = "[null, {imbalance_factor: 10}, {imbalance_factor: [20, 30], class_order: seeded}]"
    plan = make_plan(load_suite(suite_file(dataset=f"{{name: digits, long_tail: {written}}}", seeds="[0]")))
    last = "dataset.long_tail={imbalance_factor: (20, 30), class_order: seeded}"
    assert list(dict.fromkeys(planned.variant for planned in plan.runs)) == [
        "dataset.long_tail=null",
        "dataset.long_tail={imbalance_factor: 10}",
        f"{last}, dataset.long_tail.imbalance_factor=20",
        f"{last}, dataset.long_tail.imbalance_factor=30",
    ]
    assert len(plan.distinct()) == len(plan.runs) == 8


def test_a_list_for_a_field_that_is_a_list_is_its_value(suite_file) -> None:
    plan = make_plan(
        load_suite(
            suite_file(recipe="{epochs: 4, batch_size: 64, lr: 1, schedule: multistep, milestones: [1, 2]}")
        )
    )
    assert {planned.run.recipe.milestones for planned in plan.runs} == {(1, 2)}


def test_an_axis_in_a_criterions_own_recipe_is_several_rows(suite_file) -> None:
    plan = make_plan(load_suite(suite_file(criteria="[cross_entropy, {hug: {}, recipe: {lr: [0.1, 0.5]}}]")))
    assert plan.labels == ("cross_entropy", "hug[recipe.lr=0.1]", "hug[recipe.lr=0.5]")
    assert {planned.variant for planned in plan.runs} == {""}


def test_alternatives_of_one_name_are_told_apart(suite_file) -> None:
    plan = make_plan(
        load_suite(
            suite_file(dataset="[{name: digits, validation: [0.1, 0.2]}, {name: digits, max_train: 200}]")
        )
    )
    assert len({planned.variant for planned in plan.runs}) == 3


def test_an_evaluation_asked_twice_has_two_labels(suite_file) -> None:
    suite = load_suite(suite_file(evaluations="[accuracy, {accuracy: {bins: 3}}]"))
    assert len({evaluation.label for evaluation in suite.evaluations}) == 2
    assert load_suite(suite_file()).evaluations[0].label == "accuracy"


def test_seeds_come_outermost_so_every_seed_is_a_comparison(suite_file) -> None:
    plan = make_plan(load_suite(suite_file()))
    assert [(p.run.seed, p.label) for p in plan.runs] == [
        (0, "cross_entropy"),
        (0, "hug"),
        (1, "cross_entropy"),
        (1, "hug"),
    ]


def test_the_id_is_the_hash_of_what_changes_the_model(suite_file) -> None:
    run = make_plan(load_suite(suite_file())).runs[0].run
    identity = {
        "criterion": {"arguments": {}, "name": "cross_entropy"},
        "dataset": {"name": "digits"},
        "model": {"backbone": "test_resnet", "stem": "cifar"},
        "protocol": {"name": "standard"},
        "recipe": {"batch_size": 64, "epochs": 2, "lr": 0.1},
        "seed": 0,
        "spec_version": 2,
    }
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    assert run.run_id == f"cross_entropy-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


@pytest.mark.parametrize(
    "setting",
    [
        "recipe.momentum=0.9",  # the default, written out
        "dataset.resident=never",
        "dataset.long_tail=null",
        "dataset.shorter_side=null",
        "dataset.survey=null",
        "recipe.augment.random_resized_crop=null",
        "recipe.sampling=natural",
        "recipe.class_weights=null",
        "evaluations=[{accuracy: {bins: 3}}]",
        "name=other",
        "description=words",
        "criteria.hug.hug={}",
    ],
)
def test_what_leaves_the_model_alone_leaves_the_id_alone(suite_file, setting: str) -> None:
    assert ids(suite_file(), settings=[setting]) == ids(suite_file())


@pytest.mark.parametrize(
    "setting",
    [
        "recipe.lr=0.2",
        "recipe.augment.flip=true",
        "dataset.validation=0.1",
        "model.embedding_dim=null",
        "dataset.max_train=100",
        "dataset.survey=100",
        "recipe.augment.random_resized_crop={}",
        "dataset.long_tail={imbalance_factor: 1}",
        "recipe.sampling=class_balanced",
        "recipe.class_weights={kind: inverse_frequency}",
        "recipe.epochs=3",
    ],
)
def test_what_changes_the_model_changes_every_id(suite_file, setting: str) -> None:
    assert not set(ids(suite_file(), settings=[setting])) & set(ids(suite_file()))


def test_two_suites_share_the_runs_they_have_in_common(suite_file) -> None:
    first = set(ids(suite_file()))
    second = set(ids(suite_file(criteria="[cross_entropy, {hug: {alpha: 0.7}}]", name="other")))
    assert len(first & second) == 2


def test_two_arms_that_are_one_model_are_refused(suite_file) -> None:
    with pytest.raises(UserError, match="same model"):
        make_plan(load_suite(suite_file(criteria="[cross_entropy, {name: twin, cross_entropy: {}}]")))


def test_smoke_is_a_sliver_with_ids_of_its_own(suite_file) -> None:
    plan = make_plan(
        load_suite(suite_file(recipe="{epochs: 200, batch_size: 512, lr: 0.1, warmup_epochs: 5}"))
    )
    small = smoke(plan, {"digits": 10})
    assert {p.run.seed for p in small.runs} == {0}
    assert [p.label for p in small.runs] == ["cross_entropy", "hug"]
    assert all(p.run.recipe.epochs == 1 and p.run.recipe.warmup_epochs <= 1 for p in small.runs)
    assert all(p.run.dataset.max_train == 256 and p.run.dataset.max_test == 128 for p in small.runs)
    assert not {p.run.run_id for p in small.runs} & {p.run.run_id for p in plan.runs}


def test_a_long_tails_defaults_leave_its_ids_alone(suite_file) -> None:
    short = suite_file(dataset="{name: digits, long_tail: {imbalance_factor: 10}}")
    found = ids(short)
    for setting in ("imbalance_factor=10.0", "profile=exponential", "class_order=fixed", "seed=0"):
        assert ids(short, settings=[f"dataset.long_tail.{setting}"]) == found
    for setting in ("imbalance_factor=20", "profile=step", "class_order=seeded", "seed=1"):
        assert not set(ids(short, settings=[f"dataset.long_tail.{setting}"])) & set(found)


def test_smoke_keeps_a_tail_and_starts_what_is_deferred(suite_file) -> None:
    weighted = "{kind: effective_number, beta: 0.99, after: 0.8}"
    plan = make_plan(
        load_suite(
            suite_file(
                dataset="{name: cifar100, long_tail: {imbalance_factor: [4, 100], profile: step, seed: 2}}",
                recipe="{epochs: 200, batch_size: 128, lr: 0.1, sampling: class_balanced, "
                f"sampling_after: 0.8, class_weights: {weighted}}}",
            )
        )
    )
    tails, recipes = [], []
    for planned in smoke(plan, {"cifar100": 100}).runs:
        run = planned.run
        tails.append((run.dataset.long_tail.imbalance_factor, run.dataset.max_train))
        assert run.dataset.long_tail.profile == "step"
        assert run.dataset.long_tail.seed == 2
        assert min(kept_counts(500, 100, run.dataset.long_tail, run.dataset.max_train)) == 1
        recipes.append((run.recipe.sampling, run.recipe.sampling_after, run.recipe.class_weights))
    assert tails == [(3.0, 256)] * 4
    expected = ClassWeights(kind="effective_number", beta=0.99)
    assert recipes == [("class_balanced", 0.0, expected)] * 4


def test_a_run_is_picklable(suite_file) -> None:
    run = make_plan(load_suite(suite_file())).runs[0].run
    assert pickle.loads(pickle.dumps(run)) == run


@pytest.mark.parametrize("name", sorted(shipped_suites()))
def test_every_shipped_suite_is_valid_and_names_the_schema(name: str) -> None:
    path = shipped_suites()[name]
    plan = make_plan(load_suite(path))
    if not name.startswith("tune_"):  # these find what trains, they compare nothing
        assert plan.baseline == "cross_entropy"
        assert len(plan.seeds) >= 3
    assert path.read_text().startswith("# yaml-language-server: $schema=suite.schema.json\n")


@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
def test_a_suite_of_corruption_trains_nothing_that_the_standard_one_does_not(data: str) -> None:
    assert ids(f"corruption_{data}") == ids(f"standard_{data}")


def test_a_shorter_side_and_a_crops_ranges_are_part_of_the_model(suite_file) -> None:
    def made(**lines: str) -> set[str]:
        return set(ids(suite_file(**lines)))

    squeezed = made(dataset="{name: digits, image_size: 8}")
    assert not squeezed & made(dataset="{name: digits, image_size: 8, shorter_side: 8}")
    recipe = "{{epochs: 2, batch_size: 64, lr: 0.1, augment: {{random_resized_crop: {}}}}}"
    usual = made(recipe=recipe.format("{}"))
    assert usual == made(recipe=recipe.format("{scale: [0.08, 1.0]}"))
    assert not usual & made(recipe=recipe.format("{scale: [0.25, 1.0]}"))
    both = make_plan(load_suite(suite_file(recipe=recipe.format("{scale: [[0.08, 1.0], [0.25, 1.0]]}"))))
    assert usual < {planned.run.run_id for planned in both.runs}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ({"dataset": "{name: digits, shorter_side: 8}"}, "dataset: shorter_side needs an image_size"),
        (
            {"dataset": "{name: digits, image_size: 8, shorter_side: 7}"},
            "shorter_side 7 is less than image_size 8",
        ),
        ({"dataset": "{name: digits, survey: 0}"}, r"dataset\.survey: not a valid value"),
        (
            {
                "recipe": "{epochs: 1, batch_size: 1, lr: 1, augment: {random_resized_crop: {scale: [1.0, 0.1]}}}"
            },
            r"augment\.random_resized_crop: scale must rise",
        ),
        (
            {"recipe": "{epochs: 1, batch_size: 1, lr: 1, augment: {random_resize_crop: {}}}"},
            "did you mean 'random_resized_crop'",
        ),
        (
            {
                "recipe": "{epochs: 1, batch_size: 1, lr: 1, augment: {random_resized_crop: {}}}",
                "protocol": "{continual: {experiences: 5, strategies: [naive]}}",
            },
            r"recipe\.augment\.random_resized_crop: not in a class-incremental stream",
        ),
    ],
)
def test_bad_crops_and_sizes_are_one_line(suite_file, lines: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        load_suite(suite_file(**lines))
    assert "\n" not in str(caught.value)
