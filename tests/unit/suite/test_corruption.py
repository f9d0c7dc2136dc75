"""What a suite may ask of the corruption evaluation."""

from __future__ import annotations

import pytest

from hugbench.errors import UserError
from hugbench.evaluations.corruption.names import KINDS
from hugbench.suite.loader import load_suite


def arguments(suite_file, text: str):
    return load_suite(suite_file(evaluations=f"[{{corruption: {text}}}]")).evaluations[0].values()


def test_the_default_is_all_of_cifar_c(suite_file) -> None:
    found = load_suite(suite_file(evaluations="[corruption]")).evaluations[0].values()
    assert found == {
        "kinds": KINDS,
        "severities": (1, 2, 3, 4, 5),
        "seed": 0,
        "source": "auto",
        "folder": None,
        "frost_dir": None,
    }
    assert arguments(suite_file, "{kinds: [saturate, fog], severities: [2]}")["kinds"] == ("saturate", "fog")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{kinds: [fogg]}", r"suite.yaml:\d+:\d+: corruption.kinds.0.*found 'fogg'.*did you mean 'fog'"),
        ("{kinds: [Snow]}", "did you mean 'snow'"),
        ("{kinds: []}", r"suite.yaml:\d+:\d+: kinds: an empty list"),
        ("{kinds: fog}", "expected a list"),
        ("{kinds: [fog, snow, fog]}", r"suite.yaml:\d+:\d+: kinds: the same value twice; found 'fog'"),
        ("{severities: [0]}", "severities.0.*found 0.*greater than or equal to 1"),
        ("{severities: [1, 6]}", "severities.1.*found 6.*less than or equal to 5"),
        ("{severities: [2.5]}", "expected a whole number"),
        ("{severities: []}", "severities: an empty list"),
        ("{severities: [1, 1]}", "severities: the same value twice"),
        ("{severity: [1]}", "unknown key.*did you mean 'severities'"),
        ("{seed: -1}", "found -1"),
        ("{source: onw}", "did you mean 'own'"),
        ("{source: own, folder: mine}", "folder: a folder of corrupted images is named, and source is own"),
        ("{source: folder, frost_dir: frost}", "frost_dir: photographs of frost"),
        ("{folder: mine, frost_dir: frost}", "frost_dir: photographs of frost"),
    ],
)
def test_bad_arguments_are_one_line_with_a_place(suite_file, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        arguments(suite_file, text)
