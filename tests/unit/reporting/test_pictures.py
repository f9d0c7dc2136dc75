"""The picture of collapse: written as SVG and PNG, with everything it should show, and only when needed."""

from __future__ import annotations

import io
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from hugbench.reporting.circles import apart
from hugbench.reporting.pictures import collapse_pictures
from hugbench.results.store import RunFolder, Status
from hugbench.storage import write_atomic
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import Plan, make_plan

SUITE = """\
criteria: [cross_entropy, normface, {name: "hug.a+b", hug: {}}]
baseline: cross_entropy
dataset: digits
model: {backbone: test_resnet, embedding_dim: 2}
recipe: {epochs: 1, batch_size: 64, lr: 0.1}
seeds: [3, 4]
evaluations: [accuracy, collapse]
"""
NAMES = ("zero", "$one_2$ & two", "<three>")


def plan_of(folder: Path, **changes: str) -> Plan:
    text = SUITE
    for old, new in changes.items():
        text = text.replace(
            {"width": "embedding_dim: 2", "evaluations": "[accuracy, collapse]"}.get(old, old), new
        )
    path = folder / "plane.yaml"
    path.write_text(text)
    return make_plan(load_suite(path))


def rows_of(seed: int, names: tuple[str, ...] = NAMES) -> dict[str, np.ndarray]:
    """What the evaluation stores, for images around the corners of a polygon; one of them is zero."""
    random = np.random.default_rng(seed)
    classes, tables = len(names), []
    corners = 2 * math.pi * np.arange(classes) / classes
    for split, each in (("train", 30), ("test", 20)):
        targets = np.repeat(np.arange(classes), each)
        angles, norms = corners[targets] + 0.2 * random.standard_normal(len(targets)), np.ones(len(targets))
        norms[0] = 0
        tables.append(("image", split, targets, angles, norms, targets))
        tables.append(
            ("mean", split, np.arange(classes), corners, np.full(classes, 0.9), np.full(classes, -1))
        )
    tables.append(
        ("proxy", "", np.arange(classes), corners + 0.1, np.full(classes, 5.0), np.full(classes, -1))
    )
    parts = []
    for kind, split, targets, angles, norms, predictions in tables:
        parts.append(
            {
                "kind": np.full(len(targets), kind),
                "split": np.full(len(targets), split),
                "target": targets,
                "prediction": predictions,
                "norm": norms,
                "x0": norms * np.cos(angles),
                "x1": norms * np.sin(angles),
                "class_name": np.array(names)[targets],
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def finish(
    plan: Plan, root: Path, label: str, seed: int = 3, draw: int = 0, names: tuple[str, ...] = NAMES
) -> None:
    """Store a finished collapse evaluation of one run."""
    (planned,) = [p for p in plan.runs if p.label == label and p.run.seed == seed]
    folder = RunFolder(root, planned.run.run_id)
    key = next(spec.key for spec in plan.evaluations if spec.name == "collapse")
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(rows_of(draw, names)), stream)
    write_atomic(folder.predictions_file(key), stream.getvalue())
    write_atomic(folder.records_file(key), b"{}\n")
    status = Status("trained", evaluations=[key])
    folder.sealed(status, folder.predictions_file(key), folder.records_file(key))
    folder.write_status(status)


def texts(svg: Path) -> list[str]:
    return ["".join(e.itertext()).strip() for e in ElementTree.parse(svg).iter() if e.tag.endswith("}text")]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    made = plan_of(tmp_path)
    for label in made.labels:
        finish(made, tmp_path, label)
    return made


def test_svg_and_png_of_every_criterion(plan: Plan, tmp_path: Path) -> None:
    svg, png = collapse_pictures(plan, tmp_path)
    assert svg == tmp_path / "suites" / "plane" / "collapse-digits-test_resnet-standard.svg"
    assert png == svg.with_suffix(".png")
    assert png.read_bytes().startswith(b"\x89PNG\r\n")
    words = texts(svg)
    assert "digits · test_resnet · standard: features on the circle, seed 3" in words
    for label in plan.labels:
        assert words.count(label) == 1
    for split in ("training images", "test images"):
        assert words.count(split) == 1
    # of 90 and 60 images, without the one that has no direction, all are right
    assert words.count("100.0 % of 89 right") == words.count("100.0 % of 59 right") == 3
    for number in "012":
        assert words.count(number) == 2 * 3
    assert {"0 zero", "1 $one_2$ & two", "2 <three>", "proxy", "class mean", "image"} <= set(words)
    assert "not finished" not in words


def test_a_picture_is_the_same_when_drawn_again_and_left_alone_when_it_is_there(
    plan: Plan, tmp_path: Path
) -> None:
    svg, png = collapse_pictures(plan, tmp_path)
    before, drawn = [path.stat().st_mtime_ns for path in (svg, png)], svg.read_bytes()
    assert collapse_pictures(plan, tmp_path) == [svg, png]
    assert [path.stat().st_mtime_ns for path in (svg, png)] == before
    png.unlink()
    collapse_pictures(plan, tmp_path)
    assert svg.read_bytes() == drawn
    svg.write_bytes(drawn[:100])
    collapse_pictures(plan, tmp_path)
    assert svg.read_bytes() == drawn
    finish(plan, tmp_path, "normface", draw=1)
    collapse_pictures(plan, tmp_path)
    assert svg.read_bytes() != drawn


def test_what_is_missing_is_seen_and_nothing_at_all_is_no_picture(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert collapse_pictures(plan, tmp_path) == []
    finish(plan, tmp_path, "normface", seed=4)  # another seed than the first
    assert collapse_pictures(plan, tmp_path) == []
    finish(plan, tmp_path, "normface")
    svg, _ = collapse_pictures(plan, tmp_path)
    assert texts(svg).count("not finished") == 2 * 2
    assert not (tmp_path / "suites" / "plane" / "collapse-digits-test_resnet-standard.svg.tmp").exists()


def test_damaged_predictions_are_not_drawn(plan: Plan, tmp_path: Path) -> None:
    for path in tmp_path.glob("runs/normface*/predictions/*"):
        path.write_bytes(path.read_bytes()[:-1])
    svg, _ = collapse_pictures(plan, tmp_path)
    assert texts(svg).count("not finished") == 2


@pytest.mark.parametrize("changes", [{"width": "embedding_dim: 3"}, {"evaluations": "[accuracy]"}])
def test_only_collapse_in_the_plane_is_drawn(tmp_path: Path, changes: dict[str, str]) -> None:
    assert collapse_pictures(plan_of(tmp_path, **changes), tmp_path) == []
    assert not (tmp_path / "suites").exists()


def test_one_picture_per_variant_with_a_plain_name(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path,
        **{"lr: 0.1": "lr: [0.1, 0.2]", "criteria: [cross_entropy, normface": "criteria: [cross_entropy"},
    )
    for planned in plan.runs:
        if planned.run.seed == 3 and planned.label == "cross_entropy":
            one = make_plan_of_one(plan, planned.variant)
            finish(one, tmp_path, "cross_entropy")
    names = [path.name for path in collapse_pictures(plan, tmp_path)]
    assert names == [
        f"collapse-digits-test_resnet-standard-recipe.lr={lr}.{form}"
        for lr in ("0.1", "0.2")
        for form in ("svg", "png")
    ]


def make_plan_of_one(plan: Plan, variant: str) -> Plan:
    from dataclasses import replace

    return replace(plan, runs=tuple(p for p in plan.runs if p.variant == variant))


def test_many_criteria_wrap_and_many_classes_have_no_legend(tmp_path: Path) -> None:
    others = ", ".join(f"{{name: h{k}, hug: {{alpha: {k + 2}}}}}" for k in range(4))
    plan = plan_of(tmp_path, **{"normface": others})
    names = tuple(f"class{k}" for k in range(21))
    for label in plan.labels:
        finish(plan, tmp_path, label, names=names)
    svg, png = collapse_pictures(plan, tmp_path)
    words = texts(svg)
    assert all(words.count(label) == 1 for label in plan.labels)
    assert not any("class1" in word for word in words)
    assert words.count("20") == 2 * len(plan.labels)
    width, height = (int.from_bytes(png.read_bytes()[k : k + 4]) for k in (16, 20))
    assert 0.7 < width / height < 1.6  # two rows of criteria, five columns, two splits


@pytest.mark.parametrize("seed", range(6))
def test_numbers_on_the_circle_are_moved_apart(seed: int) -> None:
    random = np.random.default_rng(seed)
    angles = random.uniform(-math.pi, math.pi, 9) * (0.1 if seed % 2 else 1)
    moved = apart(angles, 0.3)
    by_place = sorted(range(9), key=lambda k: angles[k])
    ordered = [moved[k] for k in by_place]
    gaps = [b - a for a, b in zip(ordered, [*ordered[1:], ordered[0] + 2 * math.pi], strict=True)]
    assert min(gaps) > 0.3 - 1e-3
    assert sum(gaps) == pytest.approx(2 * math.pi)


def test_numbers_with_room_stay_where_they_are_and_too_many_are_spread_evenly() -> None:
    assert apart([0.0, 1.0, -2.0], 0.3) == [0.0, 1.0, -2.0]
    assert apart([], 0.3) == []
    assert apart([1.0], 9.0) == [1.0]
    spread = sorted(apart([0.01 * k for k in range(8)], 3.0))
    assert np.diff(spread) == pytest.approx([2 * math.pi / 8] * 7, abs=1e-2)
