"""The reliability card of an adversarial figure, from its JSON, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hugbench.reporting.tables import plain_table

STYLES = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red", "SKIP": "dim"}


def card_table(card: Mapping[str, Any]) -> RenderableType:
    """One row per check: name, verdict, number, threshold, one phrase.

    Args:
        card: as `Card.to_json` gives it, or as `details/KEY.json` has it with norm, eps and images,
            which then head the table.
    """
    return Group(_heading(card), _checks(card), Text())


def cards_report(cards: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Every card under the run and the evaluation that its figure is of."""
    if not cards:
        return Text("No adversarial figure is measured yet: there are no cards.")
    parts: list[RenderableType] = []
    for card in cards:
        moment = [f"{name} {card[name]}" for name in ("experience", "epoch") if card[name] is not None]
        of = [card["run_id"], card["criterion"], card["dataset"], card["protocol"], card["variant"]]
        of += [f"seed {card['seed']}", card["evaluation"], *moment]
        parts += [Text(" · ".join(part for part in of if part), style="bold"), card_table(card)]
    return Group(*parts)


def _heading(card: Mapping[str, Any]) -> Text:
    """Of which figure the card is, and its verdict."""
    verdict = card["verdict"]
    of = [str(card["norm"])] if "norm" in card else []
    of += [f"eps {_number(card['eps'])}"] if "eps" in card else []
    of += [f"{card['images']} images"] if "images" in card else []
    head = Text(", ".join(of) + ": " if of else "")
    return head.append(verdict, style=STYLES[verdict])


def _checks(card: Mapping[str, Any]) -> Table:
    table = plain_table()
    table.add_column("check", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("threshold", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for check in card["checks"]:
        verdict = check["verdict"]
        table.add_row(
            Text(check["name"]),
            Text(verdict, style=STYLES[verdict]),
            Text(_number(check["value"])),
            Text(_number(check["threshold"])),
            Text(check["told"]),
        )
    return table


def _number(value: object) -> str:
    """A number to three digits, what was written as it was written, nothing for None."""
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
