"""What was measured before the end: curves over epochs and experiences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hugbench.reporting.html.material import Material
from hugbench.reporting.html.moments import moments_section
from hugbench.reporting.html.page import page
from tests.unit.reporting.html.make import Row, accuracy, level, material, row
from tests.unit.reporting.html.read import Page


def at(epoch: int | None, criterion: str, seed: int) -> Row:
    return row("accuracy", level(criterion, seed) - 0.1 * (3 - (epoch or 3)), epoch=epoch)


def mean(criterion: str, minus: float) -> str:
    values = [level(criterion, seed) for seed in (0, 1, 2)]
    return f"{100 * (sum(values) / 3 - minus):.2f}"


def test_snapshots_and_the_end_are_a_curve_over_epochs(tmp_path: Path) -> None:
    made = material(tmp_path, {"accuracy": lambda c, s: [at(epoch, c, s) for epoch in (1, 2, None)]})
    found = Page(page(made))
    assert "on-the-way" in found.ids
    assert "Accuracy by epoch" in found.text
    cells = next(
        cells for cells in found.rows if cells[0] == "hug" and len(cells) == 4 and cells[1][:2] == "68"
    )
    assert [cell.partition(" ")[0] for cell in cells[1:]] == [mean("hug", m) for m in (0.2, 0.1, 0.0)]
    assert ["criterion", "epoch 1", "epoch 2", "epoch 3"] in found.rows


def test_without_snapshots_there_is_no_such_part(tmp_path: Path) -> None:
    made = material(tmp_path, {"accuracy": accuracy})
    assert moments_section(made, made.numbers.blocks[0]) is None


def streamed(made: Material) -> Material:
    """The same as if the runs were streams of three experiences."""
    return replace(made, runs=tuple(replace(run, experiences=3) for run in made.runs))


def test_other_evaluations_of_a_stream_are_followed_on_the_classes_seen(tmp_path: Path) -> None:
    def answer(criterion: str, seed: int) -> list[Row]:
        return [
            row("mean_corruption_error", value, condition="corrupted", experience=i, subset=subset)
            for i in (1, 2, 3)
            for subset, value in (("all", 0.9), ("seen", 0.1 * i + 0.01 * seed))
        ]

    made = streamed(material(tmp_path, {"corruption": answer}))
    section = moments_section(made, made.numbers.blocks[0])
    assert section is not None
    (figure,) = section.items
    assert figure.form == "figure"
    assert "of the classes seen so far" in figure.caption  # type: ignore[union-attr]
    assert figure.data.rows[0][1:] == ["11.00 ± 2.48", "21.00 ± 2.48", "31.00 ± 2.48"]  # type: ignore[union-attr]
