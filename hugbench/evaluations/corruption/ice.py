"""Frost on glass, grown: textures that stand in for the reference's photographs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

SIDE = 448
"""Rows and columns of a texture, about those of the reference's photographs."""


@dataclass(frozen=True)
class Pane:
    """One window's frost.

    Attributes:
        crystals: ferns per 100 x 100 pixels.
        length: of a stem, in pixels.
        spread: of a fern's side branches, as a share of its stem's length.
        angle: between a stem and its branches, in degrees.
        veil: contrast of the clouds over that of the crystals.
        mean: of red, green and blue.
        deviation: of each colour.
    """

    crystals: float
    length: float
    spread: float
    angle: float
    veil: float
    mean: tuple[float, float, float]
    deviation: float


PANES = (
    Pane(25, 70, 0.20, 20, 1.2, (78, 149, 166), 15),
    Pane(40, 90, 0.25, 30, 0.5, (201, 205, 214), 19),
    Pane(25, 120, 0.20, 20, 0.5, (201, 205, 214), 19),
    Pane(45, 60, 0.40, 50, 0.4, (138, 153, 165), 26),
    Pane(20, 100, 0.40, 50, 0.6, (112, 123, 135), 36),
)
"""Means are those of the reference's five photographs (164 over all, in 0..255), deviations about those
within the pieces of them that images of 32 x 32 pixels get (23 on average)."""


@lru_cache(maxsize=1)
def ice() -> tuple[np.ndarray, ...]:
    """Five textures, uint8 (448, 448, 3), always the same; opposite borders fit together."""
    return tuple(_texture(pane, np.random.RandomState(number)) for number, pane in enumerate(PANES))


def _texture(pane: Pane, rng: np.random.RandomState) -> np.ndarray:
    """One pane: ferns with glints where they face the light, behind a cloudy veil."""
    relief = _relief(_ferns(pane, rng))
    glints = np.roll(relief, (1, 1), (0, 1)) - np.roll(relief, (-1, -1), (0, 1))
    crystals = _standard(_standard(relief) + _standard(glints))
    light = _standard(crystals + pane.veil * _clouds(rng))[..., None]
    return np.clip(np.rint(np.array(pane.mean) + pane.deviation * light), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Shoots:
    """Lines of ice that grow at the same time: places (N, 2) and, each (N,), headings, bends per pixel
    (both in radians) and lengths in pixels."""

    places: np.ndarray
    headings: np.ndarray
    bends: np.ndarray
    lengths: np.ndarray

    def grown(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pixel by pixel: places (N, L, 2), headings (N, L) and the share still to grow (N, L)."""
        along = np.arange(math.ceil(self.lengths.max()))
        headings = self.headings[:, None] + self.bends[:, None] * along
        steps = np.stack((np.sin(headings), np.cos(headings)), -1)
        return self.places[:, None] + np.cumsum(steps, 1), headings, 1 - along / self.lengths[:, None]


def _ferns(pane: Pane, rng: np.random.RandomState) -> np.ndarray:
    """How much ice has settled on each pixel of a torus: stems, their branches, and the branches of those."""
    count = round(pane.crystals * SIDE * SIDE / 1e4)
    shoots = Shoots(
        places=rng.random_sample((count, 2)) * SIDE,
        headings=rng.random_sample(count) * 2 * math.pi,
        bends=0.006 * rng.standard_normal(count),
        lengths=pane.length * (0.12 + 0.88 * rng.random_sample(count) ** 3),
    )
    ice = np.zeros(SIDE * SIDE)
    for gap, thickness in ((4, 1.2), (3, 0.8), (0, 0.5)):
        places, headings, left = shoots.grown()
        inside = left > 0
        rows, columns = (np.floor(places[inside]).astype(np.int64) % SIDE).T
        ice += np.bincount(rows * SIDE + columns, thickness * (0.3 + 0.7 * left[inside]), SIDE * SIDE)
        if gap:
            nodes = inside & (np.arange(left.shape[1]) % gap == gap - 1)
            longest = pane.spread * shoots.lengths[:, None] * np.sin(math.pi * left.clip(0) ** 1.5)
            shoots = _branches(places[nodes], headings[nodes], longest[nodes], pane.angle, rng)
    return ice.reshape(SIDE, SIDE)


def _branches(
    places: np.ndarray, headings: np.ndarray, longest: np.ndarray, angle: float, rng: np.random.RandomState
) -> Shoots:
    """A pair of branches at each place, to both sides of its heading; those under 2 pixels are left out."""
    places, headings, longest = (np.repeat(of, 2, 0) for of in (places, headings, longest))
    turns = np.where(np.arange(len(headings)) % 2, -1, 1) * math.radians(angle)
    headings = headings + turns + 0.06 * rng.standard_normal(len(headings))
    lengths = longest * (0.5 + 0.5 * rng.random_sample(len(headings)))
    kept = lengths >= 2
    return Shoots(places[kept], headings[kept], np.zeros(kept.sum()), lengths[kept])


def _relief(ice: np.ndarray) -> np.ndarray:
    """The height of the ice: the more there is, the less another layer adds."""
    height: np.ndarray = gaussian_filter(1 - np.exp(-0.8 * ice), 0.7, mode="wrap")
    return height


def _clouds(rng: np.random.RandomState) -> np.ndarray:
    """Noise whose amplitude falls with its frequency, standardised."""
    rows, columns = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)
    falloff = (np.hypot(rows, columns) + 2 / SIDE) ** -1.8
    noise = np.fft.rfft2(rng.standard_normal((SIDE, SIDE)))
    return _standard(np.fft.irfft2(noise * falloff, (SIDE, SIDE)))


def _standard(x: np.ndarray) -> np.ndarray:
    standard: np.ndarray = (x - x.mean()) / x.std()
    return standard
