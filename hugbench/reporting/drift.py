"""A check as tables for a terminal, and as JUnit XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from hugbench.reporting.judged import counted, seeds_named
from hugbench.reporting.tables import is_fraction, simple_table
from hugbench.results.cells import named
from hugbench.results.drift import Change, Verdict

if TYPE_CHECKING:
    from hugbench.checking import CheckReport

COLUMNS = ("criterion", "number", "reference", "now", "difference", "tolerance", "p", "verdict")
ORDER: tuple[Verdict, ...] = ("worse", "better", "differs", "not finite", "within", "not judged", "identical")


def check_tables(report: CheckReport, everything: bool = False) -> RenderableType:
    """What moved, what could not be checked, and a sentence on the whole.

    Args:
        report: of a check.
        everything: show every number, not only those that moved.
    """
    blocks: dict[str, list[Change]] = defaultdict(list)
    for change in report.changes if everything else report.moved:
        blocks[named(change.quantity.block)].append(change)
    parts: list[RenderableType] = []
    for title, changes in blocks.items():
        rows = [_cells(change) for change in sorted(changes, key=lambda change: ORDER.index(change.verdict))]
        parts += [simple_table(title, COLUMNS, rows), Text()]
    parts += [Text(f"Not checked: {gap}.", style="red") for gap in report.gaps]
    parts += [Text(f"Note: {note}.", style="dim") for note in report.notes]
    parts.append(Text(summary(report), style="bold red" if report.moved else "bold"))
    return Group(*parts)


def summary(report: CheckReport) -> str:
    """What the check came to, in sentences."""
    changes = report.changes
    if not changes:
        return f"{report.suite}: nothing could be checked against {report.file}."
    counts = Counter(change.verdict for change in changes)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ORDER if counts[verdict])
    seeds = sorted({seed for change in changes for seed in change.seeds})
    moved = counted(len(report.moved), "number") + " moved" if report.moved else "nothing moved"
    sentences = [
        f"{report.suite}: {moved}, of {counted(len(changes), 'number')} against {report.file} ({told}); "
        f"{seeds_named(seeds)}; p after Holm, two-sided, {report.alpha:.0%} false alarms for the suite."
    ]
    if report.same_environment:
        others = len(changes) - counts["identical"]
        sentences.append(
            "Versions, hardware and threads are the reference's, and "
            + ("every number is the same to the last bit." if not others else _other_bits(others))
        )
    return " ".join(sentences)


def junit(report: CheckReport) -> bytes:
    """JUnit XML: a test case for every criterion and number, an error for every gap."""
    suite = ET.Element("testsuite", name=f"hugbench check {report.suite}")
    for change in report.changes:
        case = _case(suite, ".".join((report.suite, *filter(None, change.quantity[:5]))), change)
        if change.moved:
            told = sentence(change)
            ET.SubElement(case, "failure", message=told, type=change.verdict).text = told
        elif change.verdict == "not judged":
            ET.SubElement(case, "skipped", message="no spread over seeds to judge by")
    for number, gap in enumerate(report.gaps, start=1):
        case = ET.SubElement(
            suite, "testcase", classname=f"{report.suite}.not checked", name=f"{number}: {gap}"
        )
        ET.SubElement(case, "error", message=gap, type="not checked").text = gap
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("time", "0")
    whole = ET.Element("testsuites")
    whole.append(suite)
    ET.indent(whole)
    return bytes(ET.tostring(whole, encoding="utf-8", xml_declaration=True)) + b"\n"


def sentence(change: Change) -> str:
    """A change in words: the means, the difference with its tolerance, p."""
    criterion, number, before, now, difference, tolerance, p, verdict = _cells(change)
    if change.verdict == "not finite":
        return f"{criterion}, {number}: no finite number on one side, and one for every seed on the other"
    judged = f", tolerance {tolerance}, p = {p}" if tolerance else ""
    return f"{criterion}, {number}: {verdict}, {before} before and {now} now ({difference}{judged})"


def _case(suite: ET.Element, place: str, change: Change) -> ET.Element:
    number = _number(change, evaluation=False)
    return ET.SubElement(suite, "testcase", classname=place, name=f"{change.criterion}: {number}", time="0")


def _cells(change: Change) -> Sequence[str]:
    seeds = change.seeds
    scale, unit = (100, " %") if is_fraction(change.quantity.metric) else (1, "")
    before, now = ([side[seed] for seed in seeds] for side in (change.reference, change.values))
    return (
        change.criterion,
        _number(change),
        _mean(before, scale, unit),
        _mean(now, scale, unit),
        "" if change.difference is None else _signed(change.difference * scale),
        "" if change.tolerance is None else f"{change.tolerance * scale:.3g}",
        "" if change.holm is None else ("<0.001" if change.holm < 0.001 else f"{change.holm:.3f}"),
        change.verdict,
    )


def _number(change: Change, *, evaluation: bool = True) -> str:
    of = change.quantity
    parts = [
        of.evaluation if evaluation else "",
        of.metric,
        of.condition if of.condition != "clean" else "",
        f"severity {of.severity}" if of.severity is not None else "",
        f"experience {of.experience}" if of.experience is not None else "",
        f"epoch {of.epoch}" if of.epoch is not None else "",
        of.subset if of.subset != "all" else "",
    ]
    return " · ".join(filter(None, parts))


def _mean(values: Iterable[float], scale: int, unit: str) -> str:
    found = list(values)
    if not found:
        return "-"
    mean = scale * sum(found) / len(found)
    return f"{mean:.2f}{unit}" if unit else f"{mean:.4g}"


def _signed(value: float) -> str:
    return f"{value:+.3g}"


def _other_bits(others: int) -> str:
    return (
        f"{counted(others, 'number')} {'is' if others == 1 else 'are'} not the same to the last bit: "
        "the computation has changed."
    )
