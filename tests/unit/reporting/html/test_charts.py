"""Charts: well-formed, told to those who do not see them, and where the numbers say."""

from __future__ import annotations

import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from hugbench.reporting.html.axes import Scale, reaching, tick_labels, ticks
from hugbench.reporting.html.bars import bars
from hugbench.reporting.html.courses import MOST, chunks
from hugbench.reporting.html.dots import Dot, dots
from hugbench.reporting.html.heat import Grid, heat
from hugbench.reporting.html.lines import Axes, Curve, Spot, lines
from hugbench.reporting.html.markup import short, tag
from hugbench.reporting.html.ridge import ridges
from hugbench.reporting.html.svg import BASELINE, looks, wrapped
from tests.unit.reporting.html.read import SVG

NAMES = ["cross_entropy", *(f"criterion_{number}" for number in range(11))]
LOOKS = looks(NAMES, "cross_entropy")


def drawn(chart: Markup) -> ElementTree.Element:
    root = ElementTree.fromstring(chart)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert [child.tag for child in root[:2]] == [f"{SVG}title", f"{SVG}desc"]
    assert root[0].text
    assert root[1].text
    for child in root.iter():
        for name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height"):
            assert math.isfinite(float(child.get(name, "0"))), child.attrib
    return root


def words(root: ElementTree.Element) -> list[str]:
    return [child.text or "" for child in root.iter(f"{SVG}text")]


def test_elements_escape_what_is_in_them() -> None:
    found = tag("text", '<b> & "c"', data_name='"><script>', gone=None)
    assert found == '<text data-name="&#34;&gt;&lt;script&gt;">&lt;b&gt; &amp; &#34;c&#34;</text>'
    assert ElementTree.fromstring(found).get("data-name") == '"><script>'
    assert tag("rect", class_="a") == '<rect class="a"/>'
    assert tag("g", tag("b", "x")) == "<g><b>x</b></g>"


@pytest.mark.parametrize(("value", "text"), [(3, "3"), (2.5, "2.5"), (-0.04, "0"), (10.0, "10"), (1.96, "2")])
def test_coordinates_are_short(value: float, text: str) -> None:
    assert short(value) == text


@given(st.text("abc_-=, [", max_size=60), st.integers(1, 20))
def test_wrapped_names_fit_and_lose_only_spaces(name: str, columns: int) -> None:
    found = wrapped(name, columns)
    assert all(len(line) <= columns for line in found)
    assert "".join(found).replace(" ", "") == name.replace(" ", "")


@given(st.floats(-1e6, 1e6), st.floats(1e-4, 1e6), st.integers(2, 12))
def test_ticks_are_round_and_inside(low: float, span: float, most: int) -> None:
    high = low + span
    if not high > low + 1e-9 * abs(low):
        return
    found = ticks(low, high, most)
    assert len(found) <= most + 1
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in found)
    steps = [(b - a) / span for a, b in pairwise(found)]
    assert not steps or max(steps) - min(steps) <= 1e-6


def test_ticks_of_known_ranges() -> None:
    assert ticks(0, 100, 5) == [0, 20, 40, 60, 80, 100]
    assert tick_labels(ticks(0, 1, 4)) == ["0.00", "0.25", "0.50", "0.75", "1.00"]
    assert tick_labels([-20.0, 0.0, 20.0]) == ["-20", "0", "20"]


def test_a_range_reaches_past_the_values_but_not_to_the_end_of_a_hopeless_interval() -> None:
    assert reaching([10, 20], [9, 21]) == pytest.approx((9 - 0.72, 21 + 0.72))
    low, high = reaching([10, 20], [-500, 700])
    assert -5 < low < 0
    assert 30 < high < 35
    assert reaching([99, 100], [95, 105], (0.0, 100.0))[1] == 100
    low, high = reaching([5.0], [])
    assert low < 5 < high


def test_no_two_criteria_look_the_same_without_colour_and_the_baseline_is_plain() -> None:
    assert LOOKS["cross_entropy"] == BASELINE
    assert len(set(LOOKS.values())) == len(NAMES)
    assert len({(look.dash, look.shape) for look in LOOKS.values()}) == len(NAMES)


def test_a_dot_plot_puts_means_where_the_axis_says() -> None:
    rows = [
        Dot("cross_entropy", BASELINE, mean, mean - 1, mean + 1, (mean - 0.5, mean + 0.5))
        for mean in (20.0, 30.0, 50.0)
    ]
    root = drawn(dots("t", "d", [*rows, Dot("none", BASELINE, None)], "accuracy %", at=30.0, around=2.0))
    means = [float(c.get("cx", 0)) for c in root.iter(f"{SVG}circle") if c.get("r") == "4"]
    assert len(means) == 3
    assert (means[2] - means[0]) / (means[1] - means[0]) == pytest.approx(3, abs=0.02)
    at = next(child for child in root.iter(f"{SVG}line") if child.get("class") == "at")
    assert float(at.get("x1", 0)) == pytest.approx(means[1], abs=0.11)
    assert {"cross_entropy", "none", "accuracy %"} <= set(words(root))
    ticked = {float(word): None for word in words(root) if word.replace(".", "").isdigit()}
    assert 20 in ticked
    assert 50 in ticked


def test_an_interval_that_leaves_the_chart_ends_in_an_arrow() -> None:
    row = Dot("a", BASELINE, 50.0, -400.0, 500.0, (49.0, 51.0))
    root = drawn(dots("t", "d", [row], "%", limits=(0.0, 100.0)))
    arrows = [child for child in root.iter(f"{SVG}path") if child.get("fill") == "none"]
    assert len(arrows) == 2


def test_what_is_unreliable_is_hollow() -> None:
    curve = Curve("a", LOOKS["criterion_0"], (Spot(0, 50, 40, 60, True), Spot(1, 40, 30, 50, False)))
    root = drawn(lines("t", "d", [curve], Axes("eps", "%", ((0, "0"), (1, "1/255")))))
    fills = [p.get("fill") for p in root.iter(f"{SVG}path") if p.get("fill") != "none"]
    assert fills == ["var(--paper)", LOOKS["criterion_0"].colour]
    assert {"0", "1/255", "eps"} <= set(words(root))


def test_curves_with_one_spot_are_drawn_all_the_same() -> None:
    curve = Curve("a", BASELINE, (Spot(1, 2.0, 2.0, 2.0),))
    for bands in (True, False):
        root = drawn(lines("t", "d", [curve], Axes("epoch", "loss"), bands=bands))
        assert sum(1 for _ in root.iter(f"{SVG}circle")) == 1


def test_a_heat_map_is_stronger_where_the_number_is_larger_and_says_what_is_missing() -> None:
    grid = Grid(["fog", "snow"], ["1", "2"], [[10, 90], [-50, None]], 100, 0, "severity", "", signed=True)
    root = drawn(heat("t", "d", grid))
    cells = list(root.iter(f"{SVG}rect"))
    assert [cell.get("class") for cell in cells] == [None, None, None, "empty"]
    strength = [float(cell.get("fill-opacity", 0)) for cell in cells[:3]]
    assert strength[0] < strength[2] < strength[1]
    assert [cell.get("fill") for cell in cells[:3]] == ["var(--more)", "var(--more)", "var(--less)"]
    assert {"+10", "+90", "−50", "–", "fog", "snow", "severity"} <= set(words(root))


def test_a_large_matrix_has_no_numbers_that_would_overlap() -> None:
    grid = Grid([str(n) for n in range(20)], [str(n) for n in range(20)], [[50.0] * 20] * 20, 100)
    root = drawn(heat("t", "d", grid))
    assert sum(1 for _ in root.iter(f"{SVG}rect")) == 400
    assert "50" not in words(root)
    assert len(words(root)) < 45


def test_bars_begin_at_zero_and_are_as_long_as_their_mean() -> None:
    rows = [Dot("a", BASELINE, 40.0, 35.0, 45.0), Dot("b", BASELINE, 80.0), Dot("c", BASELINE, None)]
    root = drawn(bars("t", "d", rows, "accuracy %", 100.0))
    widths = [float(bar.get("width", 0)) for bar in root.iter(f"{SVG}rect")]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.2)
    assert {"40.0", "80.0"} <= set(words(root))


def test_ridges_are_as_high_as_their_own_peak() -> None:
    root = drawn(
        ridges("t", "d", [("a", BASELINE, [0, 4, 2]), ("b", BASELINE, [0, 0, 0])], [0, 1, 2, 3], "angle", 1.5)
    )
    first, second = (child for child in root.iter(f"{SVG}path"))
    heights = [float(point.split()[1]) for point in (first.get("d") or "")[1:-1].split("L")]
    assert max(heights) - min(heights) == pytest.approx(26, abs=0.1)
    flat = [float(point.split()[1]) for point in (second.get("d") or "")[1:-1].split("L")]
    assert max(flat) == min(flat)


def test_scales_are_linear_and_may_run_backwards() -> None:
    scale = Scale(0, 10, 100, 0)
    assert [scale(value) for value in (0, 5, 10)] == [100, 50, 0]
    assert scale.inside(20) == 0


def test_twelve_criteria_are_told_apart_in_three_charts_with_the_baseline_in_each() -> None:
    found = chunks(NAMES, "cross_entropy")
    assert all(chunk[0] == "cross_entropy" and len(chunk) <= MOST + 1 for chunk in found)
    assert sorted(name for chunk in found for name in chunk[1:]) == sorted(NAMES[1:])
    assert chunks(["cross_entropy"], "cross_entropy") == [["cross_entropy"]]
    assert chunks(["hug"], "cross_entropy") == [["hug"]]
