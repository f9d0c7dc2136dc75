"""Geometry of the features: angles between the proxies, the features in the plane, neural collapse."""

from __future__ import annotations

import base64
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hugbench.reporting.collapse import CAPTION, COLUMNS, SPLITS, number, scale_and_decimals
from hugbench.reporting.html.elements import Figure, Item, Picture, Prose, Section, Table
from hugbench.reporting.html.material import Material
from hugbench.reporting.html.numbers import Row, evidence
from hugbench.reporting.html.ridge import ridges
from hugbench.reporting.pictures import file_name
from hugbench.results.cells import Block
from hugbench.results.measured import Measured

PROXIES = ("head.weight", "head.frame", "weight", "centres", "class_means", "frame")
"""Names of the tensors that hold a criterion's proxies, a row for each class. The rotation that turns the
frame of orthogonal proxies changes no angle."""

CRITERION = "criterion."
MOST_PROXIES = 2000
BINS = 45

Angles = NDArray[np.float64]


def geometry_section(material: Material, block: Block) -> Section | None:
    """What there is of angles, pictures and measures of collapse."""
    items: list[Item] = [*_angles(material, block), *_pictures(material, block), *_collapse(material, block)]
    return Section("Geometry of the features", items) if items else None


def proxies_of(run: Measured) -> NDArray[np.float32] | None:
    """The proxies of a trained run, (C, d); None where its criterion has none that lie as they are used.

    Reads one tensor of the weights, without torch and without their checksum, which `run` looks at.
    """
    from safetensors import SafetensorError, safe_open

    width = run.specification()["model"]["embedding_dim"]
    try:
        with safe_open(run.folder.model, framework="numpy") as weights:
            there = set(weights.keys())
            name = next((n for n in PROXIES if f"{CRITERION}{n}" in there), None)
            if name is None:
                return None
            found: NDArray[np.float32] = weights.get_tensor(f"{CRITERION}{name}")
    except (OSError, SafetensorError, TypeError):
        return None
    fits = found.ndim == 2 and found.shape[1] == width and len(found) > 1
    return found if fits and bool(np.isfinite(found).all()) else None


def angles_between(proxies: NDArray[np.float32]) -> Angles:
    """The angles of all pairs of proxies in degrees; of 2,000 evenly chosen ones where there are more."""
    chosen = proxies[:: -(-len(proxies) // MOST_PROXIES)].astype(np.float64)
    lengths = np.linalg.norm(chosen, axis=1, keepdims=True)
    units = chosen[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]
    cosines = (units @ units.T)[np.triu_indices(len(units), 1)]
    found: Angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    return found


def _angles(material: Material, block: Block) -> list[Item]:
    classes = _classes(material, block)
    found: dict[str, list[Angles]] = {}
    width = 0
    for name, runs in material.members(block).items():
        for run in runs:
            proxies = proxies_of(run) if run.status.state == "trained" else None
            if proxies is not None and len(proxies) == (classes or len(proxies)):
                classes, width = len(proxies), proxies.shape[1]
                found.setdefault(name, []).append(angles_between(proxies))
    if not found or not classes:
        return []
    everything = np.concatenate([angles for several in found.values() for angles in several])
    low, high = float(everything.min()), float(everything.max())
    edges = np.linspace(max(0.0, low - 2), min(180.0, high + 2), BINS + 1)
    rows = [
        (name, material.looks[name], np.histogram(np.concatenate(several), edges)[0].tolist())
        for name, several in found.items()
    ]
    simplex = math.degrees(math.acos(-1 / (classes - 1))) if classes <= width + 1 else None
    inside = simplex if simplex is not None and edges[0] <= simplex <= edges[-1] else None
    drawn = ridges(
        "Angles between the proxies",
        f"A distribution for each of {len(rows)} criteria, from {low:.1f} to {high:.1f} degrees.",
        rows,
        edges.tolist(),
        "angle between two proxies, degrees",
        inside,
    )
    absent = [name for name in material.members(block) if name not in found]
    caption = (
        f"All pairs of {classes} proxies in {width} dimensions, the seeds together; each as high as its peak."
    )
    if simplex is not None:
        caption += f" Line: {simplex:.2f}°, the angle of a regular simplex, the most uniform there is."
    if absent:
        caption += f" Not shown, without proxies or not trained: {', '.join(absent)}."
    return [Figure("Angles between the proxies", [("", drawn)], _table(found), caption=caption)]


def _table(found: dict[str, list[Angles]]) -> Table:
    rows = []
    for name, several in found.items():
        own = np.concatenate(several)
        low, middle, high = np.quantile(own, [0.05, 0.5, 0.95])
        numbers = (own.min(), low, middle, high, own.max(), own.mean())
        rows.append([name, str(len(several)), *(f"{value:.2f}" for value in numbers)])
    return Table(["criterion", "seeds", "least °", "5 %", "median", "95 %", "largest", "mean"], rows)


def _classes(material: Material, block: Block) -> int:
    """How many classes there are: those that accuracy is told of one by one."""
    of_class = {
        of.subset for of in material.numbers.rows if of.block == block and of.subset.startswith("class:")
    }
    return len(of_class)


def _pictures(material: Material, block: Block) -> list[Item]:
    """The drawings of this block's features in the plane, as the files that they are."""
    stem = file_name(block)
    items: list[Item] = []
    for path in material.pictures:
        if path.suffix == ".svg" and path.stem.endswith(stem):
            small = min((path, path.with_suffix(".png")), key=_size)
            kind = "svg+xml" if small.suffix == ".svg" else "png"
            try:
                data = base64.b64encode(small.read_bytes()).decode()
            except OSError as error:
                material.said[f"{small} cannot be read ({error.strerror})"] = None
                continue
            items.append(
                Picture(
                    "Features in the plane",
                    f"data:image/{kind};base64,{data}",
                    f"Directions of the features of one seed, by class; {path.name}.",
                )
            )
    return items


def _size(path: Path) -> float:
    return path.stat().st_size if path.exists() else math.inf


def _collapse(material: Material, block: Block) -> list[Item]:
    items: list[Item] = []
    for evaluation in material.numbers.evaluations(block, "collapse"):
        places = material.numbers.ended(block, evaluation)
        for split, name in SPLITS.items():
            rows: dict[str, Row] = {
                title: row
                for metric, title in COLUMNS.items()
                if (row := places.get((metric, "clean", split, None)))
            }
            if rows:
                cells = [
                    [
                        criterion,
                        *(
                            number(row[criterion].interval, *scale_and_decimals(title))
                            for title, row in rows.items()
                        ),
                    ]
                    for criterion in next(iter(rows.values()))
                ]
                lines = [line for row in rows.values() for line in row.values()]
                told = evidence(lines, material.report.level)
                items.append(
                    Table(["criterion", *rows], cells, caption=told, title=f"Neural collapse · {name}")
                )
    return [*items, Prose([CAPTION], kind="caption")] if items else []
