from __future__ import annotations

from pathlib import Path

import pytest

from hugbench.errors import UserError
from hugbench.execution.preparation import check
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import Run, make_plan

SUITE = """\
criteria: [cross_entropy, hug]
baseline: cross_entropy
dataset: {name: digits}
model: {backbone: test_resnet, embedding_dim: 8}
recipe: {epochs: 1, batch_size: 64, lr: 0.1, augment: {random_resized_crop: {}}}
seeds: [0]
"""


@pytest.fixture
def run(tmp_path: Path):
    """The first run of a suite that crops, with settings of its own."""
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)

    def made(*settings: str) -> Run:
        return make_plan(load_suite(path, settings=settings)).runs[0].run

    return made


def test_images_that_are_kept_resized_are_not_cut(run, tmp_path: Path) -> None:
    assert check(run(), (), tmp_path, lambda text: None) >= 1
    resized = run("dataset.image_size=16")
    words = r"recipe\.augment\.random_resized_crop: parts are cut from images in their own size, but digits"
    with pytest.raises(UserError, match=words) as caught:
        check(resized, (), tmp_path, lambda text: None)
    assert "\n" not in str(caught.value)
    assert check(run("dataset.image_size=16", "recipe.augment={flip: true}"), (), tmp_path, print) >= 1


def test_a_batch_that_is_larger_than_the_data_is_refused(run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"recipe\.batch_size: the batch is larger than the data"):
        check(run("dataset.max_train=40"), (), tmp_path, lambda text: None)
