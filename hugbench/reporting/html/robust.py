"""Robust accuracy over eps, and what the figures' own checks say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hugbench.reporting.html.courses import curves_of, legend_of, panels_of
from hugbench.reporting.html.elements import Figure, Item, Prose, Section, Table
from hugbench.reporting.html.judged import PER_CENT, judged
from hugbench.reporting.html.lines import Axes
from hugbench.reporting.html.material import Json, Material
from hugbench.reporting.html.numbers import Row, any_of, evidence, shown
from hugbench.results.cells import RELIABILITY, Block
from hugbench.results.contrasts import Contrast
from hugbench.types import eps_value

EVALUATION, ROBUST = "adversarial", "robust_accuracy"
WORST = "worst case"
"""What the least of several attacks is called."""

CLEAN = "0"

Attack = tuple[str, str]
"""A label of the evaluation's and a norm."""

Rows = dict[str, Row]
"""By eps as it is written, ascending; without an attack under `CLEAN`."""


def robust_section(material: Material, block: Block) -> Section | None:
    """Every adversarial evaluation at the end of the runs."""
    items: list[Item] = []
    for evaluation in material.numbers.evaluations(block, EVALUATION):
        attacks = _attacks(material, block, evaluation)
        if not attacks:
            continue
        main = next((attack for attack in attacks if attack[0] == WORST), next(iter(attacks)))
        items.append(_curves(material, attacks[main], main))
        items += [
            item
            for eps, row in attacks[main].items()
            if eps != CLEAN
            for item in judged(material, row, f"robust accuracy at {main[1]} {eps}")[:1]
        ]
        if len(attacks) > 1:
            items.append(_each(material, attacks))
        items += _cards(material, block, evaluation)
    return Section("Robust accuracy", items) if items else None


def _attacks(material: Material, block: Block, evaluation: str) -> dict[Attack, Rows]:
    found: dict[Attack, Rows] = {}
    places = material.numbers.ended(block, evaluation)
    for (metric, condition, subset, severity), row in places.items():
        if (metric, subset, severity) == (ROBUST, "all", None):
            label, norm, eps = condition.rsplit(" ", 2)
            found.setdefault((label, norm), {})[eps] = row
    clean = places.get(("accuracy", "clean", "all", None))
    return {
        attack: {**({CLEAN: clean} if clean else {}), **dict(sorted(rows.items(), key=_radius))}
        for attack, rows in found.items()
    }


def _radius(item: tuple[str, Row]) -> float:
    return eps_value(item[0])


def _curves(material: Material, rows: Rows, attack: Attack) -> Figure:
    """A curve for each criterion; the steps between the eps are equally wide whatever they are."""
    label, norm = attack
    names = list(rows)
    curves = curves_of(material, dict(enumerate(rows.values())))
    axes = Axes(f"eps, {norm} (steps not to scale)", "robust accuracy %", tuple(enumerate(names)), PER_CENT)
    lines_of = [line for row in rows.values() for line in row.values()]
    cells = [[name, *(_told(row[name]) if name in row else "-" for row in rows.values())] for name in curves]
    return Figure(
        f"Robust accuracy over eps · {label}, {norm}",
        panels_of(material, "Robust accuracy over eps", curves, axes),
        Table(["criterion", *(f"eps {name}" for name in names)], cells),
        legend=legend_of(material, curves),
        caption="Images that no attack within eps fooled, an upper bound; 0 is without an attack. "
        f"{evidence(lines_of, material.report.level)}",
        warnings=_warnings(lines_of),
    )


def _told(line: Contrast) -> str:
    return f"{shown(line)}{' unreliable' if line.own_reliability == 'FAIL' else ''}"


def _warnings(found: Iterable[Contrast]) -> list[str]:
    """Which figures failed their checks, criterion by criterion."""
    failed: dict[str, list[str]] = {}
    for line in found:
        if line.own_reliability == "FAIL":
            failed.setdefault(line.criterion, []).append(line.quantity.condition.rpartition(" ")[2])
    told = "; ".join(f"{name} at {', '.join(eps)}" for name, eps in failed.items())
    return (
        [f"Unreliable, drawn hollow and not judged: {told}. The checks that failed are below."]
        if failed
        else []
    )


def _each(material: Material, attacks: Mapping[Attack, Rows]) -> Table:
    """What each attack alone came to."""
    names = list(dict.fromkeys(eps for rows in attacks.values() for eps in rows))
    cells = [
        [name, f"{label}, {norm}", *(_told(rows[eps][name]) if eps in rows else "-" for eps in names)]
        for (label, norm), rows in attacks.items()
        for name in material.report.criteria
        if name in any_of(rows)
    ]
    columns = ["criterion", "attack", *(f"eps {name} %" for name in names)]
    return Table(columns, cells, words=2, title="By attack")


def _cards(material: Material, block: Block, evaluation: str) -> list[Item]:
    """The verdicts of the cards, and every check that did not pass."""
    verdicts: dict[tuple[str, str], list[str]] = {}
    complaints: dict[tuple[str, str, str, str], list[tuple[int, Json]]] = {}
    for run, details in material.details(block, evaluation):
        for card in details.get("cards", []):
            verdicts.setdefault((run.label, card["eps"]), []).append(card["verdict"])
            for check in card["checks"]:
                if check["verdict"] in ("WARN", "FAIL"):
                    place = run.label, card["eps"], check["name"], check["verdict"]
                    complaints.setdefault(place, []).append((run.seed, check))
    if not verdicts:
        return []
    radii = sorted({eps for _, eps in verdicts}, key=eps_value)
    rows = [
        [name, *(_counted(verdicts.get((name, eps), [])) for eps in radii)]
        for name in dict.fromkeys(label for label, _ in verdicts)
    ]
    caption = "How many seeds' figures got which verdict from their own checks; FAIL is unreliable."
    columns = ["criterion", *(f"eps {eps}" for eps in radii)]
    items: list[Item] = [Table(columns, rows, words=len(columns), caption=caption, title="Reliability cards")]
    if not complaints:
        return [*items, Prose(["Every check of every card passed or had nothing to look at."])]
    order = sorted(complaints, key=lambda place: -RELIABILITY.index(place[3]))
    told = [
        [
            label,
            eps,
            name.replace("_", " "),
            verdict,
            ", ".join(str(seed) for seed, _ in complaints[label, eps, name, verdict]),
            _range([check["value"] for _, check in complaints[label, eps, name, verdict]]),
            _number(complaints[label, eps, name, verdict][0][1]["threshold"]),
            complaints[label, eps, name, verdict][0][1]["told"],
        ]
        for label, eps, name, verdict in order
    ]
    heads = ["criterion", "eps", "check", "verdict", "seeds", "value", "threshold", ""]
    return [*items, Table(heads, told, words=len(heads), title="Checks that did not pass")]


def _counted(verdicts: list[str]) -> str:
    return ", ".join(f"{verdicts.count(name)} {name}" for name in RELIABILITY if name in verdicts) or "-"


def _range(values: list[float | None]) -> str:
    known = sorted(value for value in values if value is not None)
    if not known:
        return ""
    low, high = _number(known[0]), _number(known[-1])
    return low if low == high else f"{low} to {high}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
