"""Random resized crops: the part of each image that an epoch trains on, drawn image by image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hugbench.seeding import derive
from hugbench.suite.schema import Augment, RandomResizedCrop

TRIES = 10


@dataclass(frozen=True)
class Cut:
    """A part of an image, in whole pixels, and whether it is mirrored left-right."""

    left: int
    top: int
    width: int
    height: int
    mirrored: bool

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom, as Pillow wants them."""
        return self.left, self.top, self.left + self.width, self.top + self.height


@dataclass(frozen=True)
class Crops:
    """The cuts of one epoch.

    Image `row` has a generator of its own (Philox, keyed by seed and row), so that its cut depends
    neither on the batch, the order and the workers, nor on which other images there are.

    Attributes:
        spec: ranges of area and ratio.
        flip: mirror every other image.
        seed: of the epoch.
    """

    spec: RandomResizedCrop
    flip: bool
    seed: int

    def cut(self, row: int, width: int, height: int) -> Cut:
        """What is trained on of image `row`, which has `width` times `height` pixels.

        A try draws the area, uniform in the fractions `scale` of the image's, and the ratio of width
        to height, log-uniform in `ratio`; the first of ten whose sides fit, rounded to pixels, is
        placed uniformly. Where none fits it is the largest part about the centre whose ratio lies in
        the range. These are the cuts of torchvision's `RandomResizedCrop`, from other draws.

        Source:
            C. Szegedy et al., Going Deeper with Convolutions, CVPR 2015, arXiv 1409.4842, section 6.
        """
        draw = np.random.Generator(np.random.Philox(key=np.array([self.seed, row], np.uint64)))
        mirrored = float(draw.random()) < 0.5 and self.flip
        (small, large), (narrow, wide) = self.spec.scale, map(math.log, self.spec.ratio)
        for share, shape, across, down in draw.random((TRIES, 4)).tolist():
            area = width * height * (small + (large - small) * share)
            ratio = math.exp(narrow + (wide - narrow) * shape)
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                left, top = int(across * (width - w + 1)), int(down * (height - h + 1))
                return Cut(left, top, w, h, mirrored)
        lowest, highest = self.spec.ratio
        w, h = min(width, round(height * highest)), min(height, round(width / lowest))
        return Cut((width - w) // 2, (height - h) // 2, w, h, mirrored)


def crops_of(spec: Augment, seed: int, *axis: str | int) -> Crops | None:
    """The crops of an epoch whose axis is named; None where the recipe has none.

    Args:
        spec: of the recipe.
        seed: of the run.
        axis: in front of the name of the random axis, and behind it the epoch: ("experience", 3, 17).
    """
    if spec.random_resized_crop is None:
        return None
    *stage, epoch = axis
    return Crops(spec.random_resized_crop, spec.flip, derive(seed, *stage, "resized crop", epoch))
