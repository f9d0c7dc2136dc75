"""What is run: small nets on images in a folder, so that there is a cache of them, under both protocols."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from hugbench.data.published import digits

SUITE = """\
criteria: [cross_entropy, {{hug: {{uniformity: mhe}}}}]
baseline: cross_entropy
dataset: {{name: pngs, validation: 0.1}}
model: {{backbone: test_resnet, stem: cifar, embedding_dim: 16}}
recipe: {{epochs: {epochs}, batch_size: 64, lr: 0.05, schedule: one_cycle, augment: {{crop: 1}}, snapshot_every: 2}}
protocol:
  - standard
  - continual: {{experiences: 2, strategies: [{{replay: {{memory: 80}}}}]}}
seeds: {seeds}
evaluations:
  - {{accuracy: {{}}, evaluate_after: each}}
  - adversarial: {{attack: screen, eps: [4/255, 16/255], max_images: {attacked}, card_images: 20}}
  - corruption: {{kinds: [fog, gaussian_noise], severities: {severities}}}
"""

LATER = """\
  - {collapse: {}, evaluate_after: each}
"""
"""Asked when all is done: it needs the weights of every moment, so that none may be damaged."""


@dataclass(frozen=True)
class Form:
    """How much of everything.

    Attributes:
        suite: YAML.
        images: of the training split; a third as many are tested on.
        kills: by SIGKILL, at least.
        rounds: how often each other fault strikes.
        minutes: after which it is broken off, as failed.
    """

    suite: str
    images: int
    kills: int
    rounds: int
    minutes: float


LONG = Form(
    SUITE.format(epochs=8, seeds="[0, 1, 2, 3]", attacked=60, severities="[1, 3]"), 640, 56, 3, minutes=90
)
SHORT = Form(SUITE.format(epochs=4, seeds="[0]", attacked=20, severities="[3]"), 240, 10, 1, minutes=20)


def images(folder: Path, count: int) -> None:
    """A data set `pngs` of digits in `folder`: `count` training images."""
    for part, (pixels, labels) in zip(("train", "test"), digits(), strict=True):
        for index in range(count if part == "train" else count // 3):
            home = folder / "pngs" / part / f"digit{labels[index]}"
            home.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[index, 0]).save(home / f"{index:04}.png")
