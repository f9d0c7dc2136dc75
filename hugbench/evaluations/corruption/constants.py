"""How strong each corruption is at each severity, and at which size of image.

CIFAR-C and ImageNet-C have constants of their own, for images of 32 and of 224 pixels a side. An
image of shorter side n takes those of the nearer one on a logarithmic scale (CIFAR-C's up to 84,
ImageNet-C's from 85), and its lengths in pixels grow or shrink with the image, by n/32 or n/224.
Below 32 pixels they stay as at 32, where most are about one pixel already: a pixel is the least that a
blur can spread over. Lengths of the elastic transform are parts of the side at every size.

Source:
    Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations, ICLR 2019, arXiv 1903.12261; the numbers are those of `make_cifar_c.py` and
    `make_imagenet_c.py` in github.com/hendrycks/robustness.
"""

from __future__ import annotations

from dataclasses import dataclass

from hugbench.evaluations.corruption.names import check_kind, check_severity

CIFAR_SIDE = 32
IMAGENET_SIDE = 224

Row = tuple[float, ...]


@dataclass(frozen=True)
class Strengths:
    """The constants of one corruption.

    Attributes:
        names: what each number of a row is.
        cifar: a row per severity, at 32 × 32.
        imagenet: a row per severity, at 224 × 224.
        lengths: the names that are lengths in pixels.
        whole: the lengths that are whole numbers, at least 1.
        parts: the names that are parts of the shorter side (a row gets them in pixels).
    """

    names: tuple[str, ...]
    cifar: tuple[Row, ...]
    imagenet: tuple[Row, ...]
    lengths: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()

    def at(self, severity: int, side: int) -> Row:
        """The row of a severity for images whose shorter side has `side` pixels."""
        small = side * side < CIFAR_SIDE * IMAGENET_SIDE
        row = (self.cifar if small else self.imagenet)[severity - 1]
        factor = max(side, CIFAR_SIDE) / CIFAR_SIDE if small else side / IMAGENET_SIDE
        return tuple(
            self._sized(name, value, factor, side) for name, value in zip(self.names, row, strict=True)
        )

    def _sized(self, name: str, value: float, factor: float, side: int) -> float:
        if name in self.whole:
            return max(1, round(value * factor))
        if name in self.lengths:
            return value * factor
        return value * side if name in self.parts else value


def _column(*values: float) -> tuple[Row, ...]:
    return tuple((value,) for value in values)


_ELASTIC = 244 / IMAGENET_SIDE  # ImageNet-C takes 244 where it means its side

STRENGTHS: dict[str, Strengths] = {
    "gaussian_noise": Strengths(
        ("deviation",), _column(0.04, 0.06, 0.08, 0.09, 0.10), _column(0.08, 0.12, 0.18, 0.26, 0.38)
    ),
    "shot_noise": Strengths(("photons",), _column(500, 250, 100, 75, 50), _column(60, 25, 12, 5, 3)),
    "impulse_noise": Strengths(
        ("amount",), _column(0.01, 0.02, 0.03, 0.05, 0.07), _column(0.03, 0.06, 0.09, 0.17, 0.27)
    ),
    "speckle_noise": Strengths(
        ("deviation",), _column(0.06, 0.1, 0.12, 0.16, 0.2), _column(0.15, 0.2, 0.35, 0.45, 0.6)
    ),
    "defocus_blur": Strengths(
        ("radius", "smoothing"),
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        lengths=frozenset({"radius", "smoothing"}),
    ),
    "gaussian_blur": Strengths(
        ("sigma",),
        _column(0.4, 0.6, 0.7, 0.8, 1),
        _column(1, 2, 3, 4, 6),
        lengths=frozenset({"sigma"}),
    ),
    "glass_blur": Strengths(
        ("sigma", "reach", "rounds"),
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        lengths=frozenset({"sigma"}),
        whole=frozenset({"reach"}),
    ),
    "motion_blur": Strengths(
        ("radius", "sigma"),
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        lengths=frozenset({"radius", "sigma"}),
    ),
    "zoom_blur": Strengths(  # zooms by numpy.arange(1, stop, step)
        ("stop", "step"),
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    "snow": Strengths(
        ("mean", "deviation", "zoom", "threshold", "radius", "sigma", "share"),
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        lengths=frozenset({"radius", "sigma"}),
    ),
    "frost": Strengths(  # `texture` is the size of the texture over that of the photographs
        ("share", "frost", "texture"),
        ((1, 0.2, 0.2), (1, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2)),
        ((1, 0.4, 1), (0.8, 0.6, 1), (0.7, 0.7, 1), (0.65, 0.7, 1), (0.6, 0.75, 1)),
        lengths=frozenset({"texture"}),
    ),
    "fog": Strengths(
        ("thickness", "decay"),
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    "brightness": Strengths(("more",), _column(0.05, 0.1, 0.15, 0.2, 0.3), _column(0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": Strengths(("factor",), _column(0.75, 0.5, 0.4, 0.3, 0.15), _column(0.4, 0.3, 0.2, 0.1, 0.05)),
    "saturate": Strengths(
        ("factor", "more"),
        ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    ),
    "elastic_transform": Strengths(
        ("shift", "sigma", "affine"),
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        tuple(
            (_ELASTIC * shift, _ELASTIC * sigma, _ELASTIC * affine)
            for shift, sigma, affine in (
                (2, 0.7, 0.1),
                (2, 0.08, 0.2),
                (0.05, 0.01, 0.02),
                (0.07, 0.01, 0.02),
                (0.12, 0.01, 0.02),
            )
        ),
        parts=frozenset({"shift", "sigma", "affine"}),
    ),
    "pixelate": Strengths(
        ("factor",), _column(0.95, 0.9, 0.85, 0.75, 0.65), _column(0.6, 0.5, 0.4, 0.3, 0.25)
    ),
    "jpeg_compression": Strengths(("quality",), _column(80, 65, 58, 50, 40), _column(25, 18, 15, 10, 7)),
    "spatter": Strengths(  # of water where `mud` is 0, of mud else
        ("mean", "deviation", "sigma", "threshold", "water", "mud"),
        (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0, 0.6),
            (0.65, 0.1, 0.5, 0.68, 0, 0.6),
        ),
        (
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 0, 1.5),
            (0.67, 0.4, 1, 0.65, 0, 1.5),
        ),
        lengths=frozenset({"sigma", "mud"}),
    ),
}


def strength(kind: str, severity: int, height: int, width: int) -> Row:
    """The constants of a corruption for images of `height` × `width` pixels.

    Raises:
        UserError: no such corruption or severity.
    """
    return STRENGTHS[check_kind(kind)].at(check_severity(severity), min(height, width))
