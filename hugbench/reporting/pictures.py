"""Pictures of a suite: for collapse in the plane, features and proxies of every criterion on the circle."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hugbench.results.store import RunFolder
from hugbench.storage import write_atomic
from hugbench.suite.plan import Plan, PlannedRun
from hugbench.suite.plugins import EvaluationSpec

if TYPE_CHECKING:
    from hugbench.reporting.circles import Table

DRAWING = "1"
"""Raised when the same numbers are drawn in another way."""


@dataclass(frozen=True)
class Picture:
    """What one picture shows.

    Attributes:
        name: of its files, without the suffix.
        title: data set, backbone, protocol, place on the suite's axes, and seed.
        arms: the file of predictions of each criterion by label; None where it is not finished.
        digest: of all that it is drawn from.
    """

    name: str
    title: str
    arms: Mapping[str, Path | None]
    digest: str


def collapse_pictures(plan: Plan, root: Path) -> list[Path]:
    """Draw the features of every criterion whose model has 2 of them, as SVG and PNG.

    One picture for each data set, backbone, protocol and variant, of the suite's first seed, in
    `root/suites/SUITE/`. A picture that is there already and shows the same is left alone. Imports
    matplotlib only if there is one to draw.

    Args:
        plan: whose runs have the evaluation `collapse`; without it there are no pictures.
        root: the results folder.

    Returns:
        The files, SVG before PNG.

    Raises:
        OSError: they cannot be written.
    """
    files = []
    for picture in _pictures(plan, root):
        svg, png = (root / "suites" / plan.suite / f"{picture.name}.{form}" for form in ("svg", "png"))
        if not (png.exists() and _shows(svg, picture.digest)):
            for path, drawn in zip((svg, png), draw(picture), strict=True):
                write_atomic(path, drawn)
        files += [svg, png]
    return files


def draw(picture: Picture) -> tuple[bytes, bytes]:
    """A picture as SVG and as PNG; the SVG's metadata hold the digest."""
    import matplotlib

    from hugbench.reporting.circles import circles

    with matplotlib.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": picture.digest,
            "text.parse_math": False,
            "font.size": 9.0,
            "font.family": "sans-serif",
        }
    ):
        tables = {label: None if path is None else _read(path) for label, path in picture.arms.items()}
        figure = circles(picture.title, tables)
        svg, png = io.BytesIO(), io.BytesIO()
        metadata = {"Date": None, "Title": picture.title, "Identifier": picture.digest}
        figure.savefig(svg, format="svg", metadata=metadata, dpi=200)
        figure.savefig(png, format="png", dpi=200)
    return svg.getvalue(), png.getvalue()


def _pictures(plan: Plan, root: Path) -> Iterator[Picture]:
    """What there is to draw, pictures without a single finished run left out."""
    specs = [spec for spec in plan.evaluations if spec.name == "collapse"]
    groups: dict[tuple[str, str, str, str], list[PlannedRun]] = {}
    for planned in plan.runs:
        run = planned.run
        if run.model.embedding_dim == 2 and run.seed == plan.seeds[0]:
            block = run.dataset.name, run.model.backbone, run.protocol.label, planned.variant
            groups.setdefault(block, []).append(planned)
    for block, members in groups.items():
        for spec in specs:
            picture = _picture(block, members, spec, root, several=len(specs) > 1)
            if any(picture.arms.values()):
                yield picture


def _picture(
    block: tuple[str, ...], members: Sequence[PlannedRun], spec: EvaluationSpec, root: Path, *, several: bool
) -> Picture:
    arms: dict[str, Path | None] = {}
    parts = [part for part in block if part]
    title = f"{' · '.join(parts)}: features on the circle, seed {members[0].run.seed}"
    digest = hashlib.sha256(f"{DRAWING} {title}\n".encode())
    for planned in members:
        folder = RunFolder(root, planned.run.run_id)
        status, path = folder.status(), folder.predictions_file(spec.key)
        done = spec.key in status.evaluations and not folder.damaged_evaluation(status, spec.key)
        arms[planned.label] = path if done else None
        shown = status.files[path.relative_to(folder.path).as_posix()] if done else "missing"
        digest.update(f"{planned.label} {shown}\n".encode())
    name = file_name([spec.key if several else spec.name, *parts])
    return Picture(name, title, arms, digest.hexdigest())


def file_name(parts: Iterable[str]) -> str:
    """Parts of a title as the stem of a file's name."""
    return re.sub(r"[^\w.=-]+", "_", "-".join(part for part in parts if part))


def _read(path: Path) -> Table:
    """The columns of a file of predictions."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _shows(svg: Path, digest: str) -> bool:
    """Whether an SVG is whole and was drawn from the same."""
    try:
        text = svg.read_bytes()
    except OSError:
        return False
    return digest.encode() in text and text.rstrip().endswith(b"</svg>")
