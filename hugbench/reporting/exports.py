"""A comparison as text for a terminal, Markdown, LaTeX, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from typing import Any

from hugbench.reporting.sheets import Sheet, legend, sentence, sheets, verdicts
from hugbench.results.contrasts import CompareReport, Contrast

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "…": r"\dots{}",
    "\n": " ",
}
_MARKDOWN = {"\\": "\\\\", "|": "\\|", "<": "&lt;", "*": "\\*", "`": "\\`", "[": "\\[", "\n": " "}


def to_text(report: CompareReport, width: int = 120) -> str:
    """What a terminal shows, without colour."""
    from rich.console import Console

    from hugbench.reporting.contrasts import compare_tables

    stream = io.StringIO()
    Console(file=stream, width=width).print(compare_tables(report))
    return stream.getvalue()


def to_markdown(report: CompareReport) -> str:
    """A table for every number, then verdicts, legend and notes; pipes are escaped."""
    parts = [_markdown_table(sheet) for sheet in sheets(report)]
    for head, told in (("Verdicts", verdicts(report)), ("Legend", legend(report)), ("Notes", report.notes)):
        if told:
            parts.append(f"**{head}**\n\n" + "\n".join(f"- {markdown_escaped(text)}" for text in told) + "\n")
    return "\n".join(parts)


def to_latex(report: CompareReport) -> str:
    r"""A table for every number in the style of booktabs, for `\usepackage{booktabs}`."""
    parts = ["% needs \\usepackage{booktabs}\n", *map(_latex_table, sheets(report))]
    told = [*verdicts(report), *legend(report), *(f"Note: {note}." for note in report.notes)]
    return "\n".join([*parts, "\n\n".join(map(latex_escaped, told))]) + "\n"


def to_csv(report: CompareReport) -> str:
    """A row for every number of every criterion; fractions are fractions."""
    stream = io.StringIO()
    rows = [_flat(report, line) for line in report.contrasts]
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def to_json(report: CompareReport) -> str:
    """`CompareReport.to_json`, each line with its sentence; a line of text for each."""
    found = report.to_json()
    lines = [
        json.dumps({**told, "sentence": sentence(line)}, ensure_ascii=False, allow_nan=False)
        for line, told in zip(report.contrasts, found.pop("contrasts"), strict=True)
    ]
    head = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    body = ",\n  ".join(lines)
    return f'{head},\n "contrasts": [\n  {body}\n ]\n}}\n'


FORMATS: dict[str, Callable[[CompareReport], str]] = {
    "text": to_text,
    "json": to_json,
    "csv": to_csv,
    "md": to_markdown,
    "latex": to_latex,
}

SUFFIXES = {".txt": "text", ".json": "json", ".csv": "csv", ".md": "md", ".tex": "latex"}


def latex_escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(_LATEX.get(character, character) for character in text)


def markdown_escaped(text: str) -> str:
    """Text as Markdown prints it, in a table or out of one."""
    return "".join(_MARKDOWN.get(character, character) for character in text)


def _markdown_table(sheet: Sheet) -> str:
    marks = [":--", *["--:"] * (len(sheet.columns) - 2), ":--"]
    rows = [sheet.columns, *sheet.rows]
    lines = ["| " + " | ".join(markdown_escaped(cell) for cell in row) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join(marks) + " |")
    body = "\n".join(lines)
    return f"**{markdown_escaped(sheet.title)}**\n\n{body}\n\n{markdown_escaped(sheet.caption)}\n"


def _latex_table(sheet: Sheet) -> str:
    rows = [" & ".join(map(latex_escaped, row)) + r" \\" for row in (sheet.columns, *sheet.rows)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex_escaped(f'{sheet.title}. {sheet.caption}')}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(sheet.columns) - 2)}l}}",
            r"\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _flat(report: CompareReport, line: Contrast) -> dict[str, Any]:
    """A line as flat columns; empty where there is nothing."""
    mean, reference, found, drawn = line.interval, line.reference, line.difference, line.bootstrap
    return {
        **line.quantity._asdict(),
        "primary": line.primary,
        "family": line.family[-1],
        "criterion": line.criterion,
        "against": line.against,
        "n": line.images,
        "seeds": " ".join(map(str, line.values)),
        "mean": mean and mean.mean,
        "low": mean and mean.low,
        "high": mean and mean.high,
        "std": mean and mean.std,
        "against_mean": reference and reference.mean,
        "shared_seeds": " ".join(map(str, found.seeds)) if found else None,
        "difference": found and found.mean,
        "difference_low": found and found.low,
        "difference_high": found and found.high,
        "p": found and found.p_value,
        "test": found and found.test,
        "sign_flip_p": found and found.sign_flip,
        "holm_p": line.holm,
        "effect_size": line.effect,
        "delta": line.delta,
        "equivalence_p": line.equivalence,
        "bootstrap_low": drawn and drawn.low,
        "bootstrap_high": drawn and drawn.high,
        "bootstrap_draws": drawn and drawn.draws,
        "mcnemar_p": " ".join(f"{seed}:{test.p_value:.6g}" for seed, test in (line.mcnemar or {}).items()),
        "verdict": line.verdict,
        "seeds_needed": ">1000" if line.seeds_needed == math.inf else line.seeds_needed,
        "missing": " ".join(map(str, line.missing)),
        "not_finite": " ".join(map(str, line.not_finite)),
        "reliability": line.reliability,
        "own_reliability": line.own_reliability,
        "runs": " ".join(report.runs.get(line.criterion, ())),
        "sentence": sentence(line),
    }
