"""Radii: what each norm allows, and what it says of the rest."""

from __future__ import annotations

import math

import pytest

from hugbench.errors import UserError
from hugbench.evaluations.adversarial.radius import check_eps

IMAGE = (3, 32, 32)


def test_numbers_of_what_is_written():
    found = check_eps("Linf", ["0.25/255", "0.5/255", "8/255", "1"], shape=IMAGE)
    assert found == pytest.approx((0.25 / 255, 0.5 / 255, 8 / 255, 1.0))
    assert check_eps("L2", ["0.1", "0.5", "128/255", "2"], shape=IMAGE) == pytest.approx(
        (0.1, 0.5, 128 / 255, 2)
    )
    assert check_eps("L2", [f"{math.sqrt(3 * 32 * 32):.10g}"], shape=None)[0] == pytest.approx(55.4, abs=0.1)


@pytest.mark.parametrize(
    ("norm", "eps", "words"),
    [
        ("Linf", ["8"], "8/255 is in units of 1/255"),
        ("Linf", ["1.01"], "above 1 does not exist"),
        ("Linf", ["300"], "above 1 does not exist"),
        ("Linf", ["0.5"], "same grey"),
        ("Linf", ["128/255"], "same grey"),
        ("Linf", ["0.999"], "same grey"),
        ("Linf", ["0"], "positive"),
        ("Linf", ["-1/255"], "positive"),
        ("Linf", ["nan"], "positive"),
        ("Linf", ["inf"], "positive"),
        ("Linf", ["a/255"], "positive"),
        ("Linf", ["1/0"], "positive"),
        ("Linf", ["8/255/2"], "positive"),
        ("Linf", ["8/"], "positive"),
        ("L2", ["8/255"], "is an Linf radius"),
        ("L2", ["0.5/255"], "is an Linf radius"),
        ("L2", ["56"], "further apart than 55.4256"),
        ("L2", ["0"], "positive"),
        ("L1", ["1"], "unknown norm"),
        ("Linf", [], "at least one"),
        ("Linf", ["8/255", "16/510"], "the same radius twice"),
    ],
)
def test_refusals(norm, eps, words):
    with pytest.raises(UserError) as error:
        check_eps(norm, eps, shape=IMAGE, key="evaluations.adversarial.eps")
    assert words in str(error.value)
    assert str(error.value).startswith("evaluations.adversarial.eps: ")
