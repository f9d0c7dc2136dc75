"""The table of a reliability card."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console, RenderableType

from hugbench.reporting.card import card_table, cards_report

CARD = {
    "norm": "Linf",
    "eps": "8/255",
    "images": 100,
    "verdict": "FAIL",
    "checks": [
        {"name": "input_contract", "verdict": "PASS", "value": 7.2e-8, "threshold": 0.001, "told": "close"},
        {"name": "losses", "verdict": "FAIL", "value": 0.22, "threshold": 0.01, "told": "[b] steps fool it"},
        {"name": "transfer", "verdict": "SKIP", "value": None, "threshold": None, "told": "no baseline"},
    ],
}
PLACE = {
    "run_id": "hug-0123456789",
    "criterion": "hug",
    "dataset": "digits",
    "protocol": "standard",
    "variant": "",
    "seed": 0,
    "evaluation": "adversarial",
    "experience": None,
    "epoch": None,
}


def printed(renderable: RenderableType, width: int = 100, **options: Any) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, **options).print(renderable)
    return stream.getvalue()


def test_a_card_is_a_row_per_check() -> None:
    lines = [line.split() for line in printed(card_table(CARD)).splitlines()]
    assert lines[0] == ["Linf,", "eps", "8/255,", "100", "images:", "FAIL"]
    assert ["input_contract", "PASS", "7.2e-08", "0.001", "close"] in lines
    assert ["losses", "FAIL", "0.22", "0.01", "[b]", "steps", "fool", "it"] in lines
    assert ["transfer", "SKIP", "no", "baseline"] in lines


def test_a_card_alone_needs_no_figure_named() -> None:
    text = printed(card_table({"verdict": "PASS", "checks": []}))
    assert text.splitlines()[0] == "PASS"


def test_numbers_of_eps_are_short() -> None:
    assert printed(card_table({**CARD, "eps": 8 / 255})).startswith("Linf, eps 0.0314, 100 images: FAIL")


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_terminal_loses_nothing(width: int) -> None:
    text = printed(card_table(CARD), width)
    assert max(map(len, text.splitlines())) <= width
    for word in ("input_contract", "7.2e-08", "threshold", "close", "steps", "no baseline"):
        assert word in text


def test_a_pipe_gets_no_colour_and_a_terminal_does() -> None:
    assert "\x1b" not in printed(card_table(CARD))
    assert "\x1b[" in printed(card_table(CARD), force_terminal=True, color_system="standard")


def test_cards_stand_under_their_runs() -> None:
    moment = {**PLACE, "experience": 2, "variant": "recipe.lr=0.1", "seed": 1}
    lines = printed(cards_report([{**PLACE, **CARD}, {**moment, **CARD}])).splitlines()
    assert lines[0] == "hug-0123456789 · hug · digits · standard · seed 0 · adversarial"
    assert any(line.endswith("recipe.lr=0.1 · seed 1 · adversarial · experience 2") for line in lines)
    assert sum(line.startswith("Linf, eps 8/255") for line in lines) == 2


def test_no_card_is_said() -> None:
    assert "no cards" in printed(cards_report([]))
