"""A comparison in a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hugbench.reporting.published import published_tables
from hugbench.reporting.sheets import Sheet, legend, sheets, verdicts
from hugbench.reporting.tables import CriteriaTable
from hugbench.results.contrasts import CompareReport

MOST_NOTES = 20
_STYLES = {"better": "bold green", "worse": "bold red", "differs": "bold", "no result": "red"}


def compare_tables(report: CompareReport) -> RenderableType:
    """A table for every number, then the verdicts in a sentence each, what the columns are, and notes."""
    parts: list[RenderableType] = []
    for sheet in sheets(report):
        parts += [
            Text(sheet.title, style="bold"),
            _table(sheet),
            Text(),
            Text(sheet.caption, style="dim"),
            Text(),
        ]
    judged = verdicts(report)
    parts += [*map(Text, judged), *([Text()] if judged else []), Text(" ".join(legend(report)), style="dim")]
    sources = "; ".join(
        name if name == folder else f"{name}: {folder}" for name, folder in report.sources.items()
    )
    if report.published:
        parts += [Text(), published_tables([each.to_json() for each in report.published])]
    parts += [Text(sources, style="dim"), *(Text(f"Note: {note}.") for note in report.notes[:MOST_NOTES])]
    if len(report.notes) > MOST_NOTES:
        parts.append(Text(f"... and {len(report.notes) - MOST_NOTES} more notes; --json has all"))
    return Group(*parts)


def _table(sheet: Sheet) -> Table:
    table = CriteriaTable(sheet.columns[0], sheet.columns[1:-1])
    table.collapse_padding = True
    table.add_column(Text(sheet.columns[-1]))
    for *cells, verdict in sheet.rows:
        style = _STYLES.get(verdict, "dim")
        table.add_row(*map(Text, cells), Text(verdict, style=style))
    return table
