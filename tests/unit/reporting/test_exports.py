"""A comparison in every format: structure, escapes, and the same numbers everywhere."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from hugbench.comparing import compare
from hugbench.reporting.exports import FORMATS, latex_escaped, markdown_escaped
from hugbench.reporting.sheets import legend, sentence, sheets, verdict_text, verdicts
from hugbench.results.contrasts import CompareReport
from tests.unit.finished import finish, first, suite

COUNTS = {
    "cross_entropy": [80, 82, 81, 80],
    "a|b_c%": [90, 91, 91, 92],
    "d&e<f": [81, 81, 84, 79],
    "g": [80, 82, 81, 80],
}


PLAIN = dict(zip(("cross_entropy", "b", "c", "g"), COUNTS, strict=True))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> CompareReport:
    """A comparison with labels that every format has to escape."""
    folder = tmp_path_factory.mktemp("exports")
    path = suite(
        folder,
        seeds="[0, 1, 2, 3]",
        criteria="[cross_entropy, {name: b, hug: {}}, {name: c, normface: {}}, {name: g, cosface: {}}]",
    )
    finish(path, folder / "results", lambda p: first(COUNTS[PLAIN[p.label]][p.run.seed]))
    found = compare(path, results=folder / "results", ranks="seeds", bootstrap=200)
    lines = tuple(replace(line, criterion=PLAIN[line.criterion]) for line in found.contrasts)
    assert found.ranking is not None
    ranking = replace(found.ranking, criteria=tuple(PLAIN[name] for name in found.ranking.criteria))
    runs = {PLAIN[name]: ids for name, ids in found.runs.items()}
    return replace(found, contrasts=lines, ranking=ranking, runs=runs)


def test_latex_is_whole_and_escaped(report: CompareReport) -> None:
    text = FORMATS["latex"](report)
    for name in ("table", "tabular"):
        assert text.count(f"\\begin{{{name}}}") == text.count(f"\\end{{{name}}}") == 2
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count(f"\\{rule}") == 2
    for block in re.findall(r"\\begin\{tabular\}\{(\w+)\}\n\\toprule\n(.*?)\\bottomrule", text, re.DOTALL):
        columns, body = block
        rows = [line for line in body.splitlines() if line != "\\midrule"]
        assert all(line.endswith(r"\\") for line in rows)
        for line in rows:
            assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1
    body = text.partition("\n")[2]
    plain = re.sub(r"\$(\\pm|\\cdot|<|>|\|)\$|\\[&%$#_{}]", "", body)
    plain = re.sub(r"[^\n]*[^\\]\\begin|(?<!\\)&| \\\\\n", "", plain)
    assert not re.findall(r"[%#_$^~<>|±·]", plain)
    depth = 0
    for character in re.sub(r"\\[{}]", "", text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a_b & 50 %", r"a\_b \& 50 \%"),
        ("{$x^2~#}", r"\{\$x\textasciicircum{}2\textasciitilde{}\#\}"),
        ("\\end", r"\textbackslash{}end"),
        ("1 ± 2 < 3", r"1 $\pm$ 2 $<$ 3"),
    ],
)
def test_latex_escapes(text: str, latex: str) -> None:
    assert latex_escaped(text) == latex


def test_markdown_tables_are_whole(report: CompareReport) -> None:
    text = FORMATS["md"](report)
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 2
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
        assert re.fullmatch(r"[|:\- ]+", table.splitlines()[1])
    assert "a\\|b_c%" in text
    assert "d&e&lt;f" in text
    assert markdown_escaped("a\\|b") == "a\\\\\\|b"


def test_csv_and_json_have_the_same_numbers(report: CompareReport) -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](report))))
    found = json.loads(FORMATS["json"](report))
    assert found["baseline"] == "cross_entropy"
    assert len(rows) == len(found["contrasts"]) == 4
    for row, line in zip(rows, found["contrasts"], strict=True):
        assert row["criterion"] == line["criterion"]
        assert row["verdict"] == line["verdict"]
        assert row["sentence"] == line["sentence"]
        assert float(row["mean"]) == line["interval"]["mean"]
        assert row["seeds"] == "0 1 2 3"
        assert row["n"] == "100"
        assert len(row["runs"].split()) == 4
        for flat, nested in (("p", "p_value"), ("difference_low", "low")):
            known = line["difference"] and line["difference"][nested]
            assert row[flat] == ("" if known is None else str(known))
        assert row["holm_p"] == ("" if line["holm_p"] is None else str(line["holm_p"]))
    assert set(found["runs"]) == set(COUNTS)
    assert found["families"][0]["tested"] == 2


@pytest.mark.parametrize("width", [60, 100, 160])
def test_text_stays_within_its_width(report: CompareReport, width: int) -> None:
    from hugbench.reporting.exports import to_text

    text = to_text(report, width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text


def test_sheets_say_n_and_seeds(report: CompareReport) -> None:
    table, ranks = sheets(report)
    assert table.columns[0] == "criterion"
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert table.caption.startswith("100 test images; seeds 0, 1, 2, 3.")
    assert ranks.title == "average ranks"
    told = " ".join(legend(report))
    for words in ("Holm: p corrected for the 2 tested", "Hedges", "200 draws", "±0.5 points", "paired t"):
        assert words in told


def test_verdicts_are_a_sentence_a_number(report: CompareReport) -> None:
    (told,) = verdicts(report)
    assert told == "digits · test_resnet · standard · accuracy: better a|b_c%; undecided d&e<f; identical g"
    better, undecided = (
        next(x for x in report.contrasts if x.criterion == name) for name in ("a|b_c%", "d&e<f")
    )
    words = sentence(better)
    assert words.startswith("a|b_c%, accuracy: better (+10.25 points [")
    assert "to cross_entropy, paired t over 4 seeds, p " in words
    assert re.fullmatch(r"undecided: (>1,000|\d+) seeds", verdict_text(undecided))
