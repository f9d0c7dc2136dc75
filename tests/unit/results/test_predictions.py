"""Which numbers per-example predictions explain, image by image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from hugbench.results.cells import Quantity
from hugbench.results.measured import Measured
from hugbench.results.predictions import Predictions
from hugbench.results.store import RunFolder, Status

BLOCK = ("digits", "test_resnet", "standard", "")
IMAGES = 7


def stored(root: Path, columns: dict[str, Any], experiences: int | None = None) -> Predictions:
    folder, status = RunFolder(root, "hug-1"), Status("trained", evaluations=["e-1"])
    path = folder.predictions_file("e-1")
    path.parent.mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    folder.sealed(status, path)
    return Predictions([Measured(folder, status, "hug", BLOCK, 0, {"e-1": "e"}, experiences, dict)])


def quantity(metric: str, condition: str = "clean", severity: int | None = None, **changes: Any) -> Quantity:
    return Quantity(*BLOCK, "e", metric, condition, severity, None, None, "all")._replace(**changes)


@pytest.fixture
def corrupted() -> dict[str, Any]:
    """Clean, then two kinds under two severities, in an order of images of its own."""
    draw = np.random.default_rng(0)
    index = np.tile(draw.permutation(IMAGES), 5)
    return {
        "index": index,
        "condition": np.repeat(np.array(["clean", "fog", "fog", "snow", "snow"], dtype=object), IMAGES),
        "severity": np.repeat(np.array([0, 1, 2, 1, 2], dtype=np.int8), IMAGES),
        "target": index % 3,
        "prediction": draw.integers(3, size=5 * IMAGES),
    }


def slow_shares(columns: dict[str, Any], wanted: Any) -> list[float]:
    """The share of an image's rows that are right, by loops over images and rows."""
    shares = []
    for image in range(IMAGES):
        rows = [r for r in range(5 * IMAGES) if columns["index"][r] == image and wanted(r)]
        shares.append(sum(columns["prediction"][r] == columns["target"][r] for r in rows) / len(rows))
    return shares


def test_a_mean_over_corruptions_is_of_each_image(tmp_path: Path, corrupted: dict[str, Any]) -> None:
    known = slow_shares(corrupted, lambda r: corrupted["condition"][r] != "clean")
    found = stored(tmp_path, corrupted)
    of_error = found.hits(quantity("mean_corruption_error", "corrupted"), "hug", 0, 1 - np.mean(known))
    of_accuracy = found.hits(quantity("accuracy", "corrupted"), "hug", 0, float(np.mean(known)))
    for hits in (of_error, of_accuracy):
        assert hits is not None
        assert hits.right.tolist() == pytest.approx(known)
        assert not hits.yes_or_no


@pytest.mark.parametrize(("condition", "severity"), [("clean", None), ("fog", None), ("snow", 2)])
def test_one_condition_is_its_rows(
    tmp_path: Path, corrupted: dict[str, Any], condition: str, severity: int | None
) -> None:
    def wanted(r: int) -> bool:
        return corrupted["condition"][r] == condition and severity in (None, corrupted["severity"][r])

    known = slow_shares(corrupted, wanted)
    found = stored(tmp_path, corrupted)
    hits = found.hits(quantity("accuracy", condition, severity), "hug", 0, float(np.mean(known)))
    assert hits is not None
    assert hits.right.tolist() == pytest.approx(known)


def test_robust_images_are_those_not_fooled(tmp_path: Path) -> None:
    fooled = np.array([True, False, False, True])
    labels = np.arange(4)
    columns = {
        "condition": ["linf"] * 4,
        "index": labels,
        "target": labels,
        "prediction": labels,
        "fooled": fooled,
    }
    found = stored(tmp_path, columns)
    hits = found.hits(quantity("robust_accuracy", "linf"), "hug", 0, 0.5)
    assert hits is not None
    assert hits.right.tolist() == [0, 1, 1, 0]
    assert hits.yes_or_no


def test_what_is_no_mean_of_hits_has_none(tmp_path: Path, corrupted: dict[str, Any]) -> None:
    found = stored(tmp_path, corrupted)
    clean = float(np.mean(slow_shares(corrupted, lambda r: corrupted["condition"][r] == "clean")))
    assert found.hits(quantity("accuracy"), "hug", 0, clean) is not None
    assert found.hits(quantity("expected_calibration_error"), "hug", 0, 0.03) is None
    assert found.hits(quantity("accuracy"), "hug", 0, clean + 0.1) is None
    assert found.hits(quantity("accuracy", subset="class:3"), "hug", 0, clean) is None
    assert found.hits(quantity("accuracy", "rain"), "hug", 0, clean) is None
    assert found.hits(quantity("accuracy"), "hug", 1, clean) is None
    assert found.hits(quantity("accuracy"), "other", 0, clean) is None
    assert found.notes == []


def test_images_with_other_labels_are_other_images(tmp_path: Path) -> None:
    labels = np.arange(4)
    one = stored(tmp_path / "a", {"index": labels, "target": labels, "prediction": labels})
    shuffled = stored(
        tmp_path / "b", {"index": labels[::-1], "target": labels[::-1], "prediction": labels[::-1]}
    )
    other = stored(tmp_path / "c", {"index": labels, "target": labels[::-1], "prediction": labels[::-1]})
    digests = [found.hits(quantity("accuracy"), "hug", 0, 1.0).images for found in (one, shuffled, other)]
    assert digests[0] == digests[1] != digests[2]


def test_a_moment_before_the_end_has_no_predictions_even_if_its_number_is_that_of_the_end(
    tmp_path: Path,
) -> None:
    table = {"index": np.arange(4), "target": np.arange(4), "prediction": np.array([0, 1, 0, 0])}
    found = stored(tmp_path, table, experiences=5)
    assert found.hits(quantity("accuracy", experience=5), "hug", 0, 0.5) is not None
    assert found.hits(quantity("accuracy", experience=3), "hug", 0, 0.5) is None
