from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from hugbench.errors import UserError
from hugbench.registry import CRITERIA, EVALUATIONS
from hugbench.signatures import signature, validate_arguments

SOURCE = '''
import a_package_that_does_not_exist
from typing import Literal
from hugbench.types import NonNegative
from hugbench import Criterion

class Base(Criterion):
    """The base."""
    def __init__(self, in_features, num_classes, *, alpha: NonNegative = 1.0, kind: Literal["a", "b"] = "a",
                 size: int | None = None, free=3, needed: float):
        """Nothing here runs."""

class Child(Base):
    """A child.

    Equation:
        x
    """

class Plain(Criterion):
    """No constructor."""

class Odd(Criterion):
    def __init__(self, in_features, num_classes, *, when: float = open("x")):
        pass

class Ordinary:
    def __init__(self, gamma: float = 2.0, *, extra: bool = False):
        pass
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "loss.py"
    path.write_text(SOURCE)
    return path


def test_arguments_are_read_without_importing(file: Path) -> None:
    found = signature(f"{file}:Base")
    assert [(arg.name, arg.default) for arg in found.arguments] == [
        ("alpha", "1.0"),
        ("kind", "'a'"),
        ("size", "None"),
        ("free", "3"),
        ("needed", None),
    ]
    values = validate_arguments(found, {"needed": 2})
    assert values == {"alpha": 1.0, "kind": "a", "size": None, "free": 3, "needed": 2.0}


def test_a_constructor_is_inherited(file: Path) -> None:
    found = signature(f"{file}:Child")
    assert found.doc.startswith("A child.")
    assert found.arguments[0].name == "alpha"
    assert signature(f"{file}:Plain").arguments == ()


def test_positional_arguments_of_a_loss_of_logits_count_too(file: Path) -> None:
    assert [arg.name for arg in signature(f"{file}:Ordinary").arguments] == ["gamma", "extra"]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"needed": "2"},
        {"needed": 1.0, "alpha": -1.0},
        {"needed": 1.0, "kind": "c"},
        {"needed": 1.0, "size": 2.5},
        {"needed": 1.0, "unknown": 1},
        {"needed": float("nan")},
    ],
)
def test_wrong_arguments_are_refused(file: Path, arguments: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        validate_arguments(signature(f"{file}:Base"), arguments)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("{file}:Bse", "did you mean 'Base'"),
        ("{file}:Odd", "a default that is not a literal"),
        ("{file}.missing.py:X", "cannot be read"),
        ("hugbench.criteria.nothing:X", "no such module"),
    ],
)
def test_what_cannot_be_read_is_said(file: Path, target: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        signature(target.format(file=file))


def test_a_file_that_is_not_python(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("def x(:\n")
    with pytest.raises(UserError, match=r"bad\.py:1: is not Python"):
        signature(f"{path}:x")


WEIGHTING = """
from hugbench.criteria.base import Criterion
from hugbench.criteria.long_tail import LDAM
from hugbench.criteria.softmax import CrossEntropy as CE

class Inherits(CE): pass
class Overrides(CE):
    def forward(self, features, targets): ...
class Says(CE):
    weighting: str = "recipe"
    def forward(self, features, targets): ...
class SaysNo(CE):
    weighting = "none"
class Own(LDAM): pass
class Fresh(Criterion): pass
class Computed(CE):
    weighting = "re" + "cipe"
class Further(Says): pass
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Inherits", "recipe"),
        ("Overrides", "none"),
        ("Says", "recipe"),
        ("SaysNo", "none"),
        ("Own", "own"),
        ("Fresh", "none"),
        ("Computed", "none"),
        ("Further", "recipe"),
    ],
)
def test_how_classes_are_weighed_is_read_from_the_source(tmp_path: Path, name: str, expected: str) -> None:
    path = tmp_path / "loss.py"
    path.write_text(WEIGHTING)
    assert signature(f"{path}:{name}").weighting == expected
    namespace: dict[str, object] = {}
    exec(WEIGHTING, namespace)
    assert name == "Computed" or namespace[name].weighting == expected


def test_an_edited_file_is_read_again(file: Path) -> None:
    before = signature(f"{file}:Plain")
    file.write_text(SOURCE + "\n# changed\n")
    assert signature(f"{file}:Plain").source_sha256 != before.source_sha256


@pytest.fixture
def package(tmp_path: Path, monkeypatch) -> Path:
    """An installed package whose modules cannot run: they are only read."""
    monkeypatch.syspath_prepend(tmp_path)
    files = {
        "__init__.py": "raise SystemExit\nfrom .losses import Base as Renamed\nfrom .losses.deep import Deep, Lost\n",
        "losses/__init__.py": f"from .. import Round\n{SOURCE}",
        "losses/deep.py": "from ..top import Deep\n",
        "top.py": "class Deep:\n    def __init__(self, depth: int = 3): ...\n",
        "round.py": "from their_package.turn import Round\n",
        "turn.py": "from their_package.round import Round\n",
        "up.py": "from ....... import Up\n",
    }
    for name, text in files.items():
        path = tmp_path / "their_package" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "their_package"


def test_a_name_is_followed_through_its_package_without_importing(package: Path) -> None:
    found = signature("their_package:Renamed")
    assert (found.name, found.arguments[0].name) == ("Base", "alpha")
    assert found.file == package / "losses" / "__init__.py"
    assert [arg.name for arg in signature("their_package:Deep").arguments] == ["depth"]
    before = signature("their_package:Deep").source_sha256
    with (package / "top.py").open("a") as stream:
        stream.write("# edited\n")
    assert signature("their_package:Deep").source_sha256 != before


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("their_package.round:Round", "is imported in a circle"),
        ("their_package:Lost", "defines no 'Lost'"),
        ("their_package.up:Up", "defines no 'Up'"),
        ("their_package.losses:Rnd", "did you mean 'Round'|one of: Base"),
        ("their_package.nothing:X", "no such module"),
        ("their_package.top.deeper:X", "no such module"),
        ("their_package..top:Deep", "no such module"),
        ("their_package:", "defines no ''"),
        (":Deep", "no such module"),
        ("math:sin", "no such module"),
    ],
)
def test_what_a_package_does_not_have_is_said(package: Path, target: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        signature(target)


def test_a_subclass_through_the_public_door_has_its_parents_arguments(tmp_path: Path) -> None:
    path = tmp_path / "loss.py"
    path.write_text("from hugbench import HUG\nclass Mine(HUG):\n    pass\n")
    assert signature(f"{path}:Mine").arguments == signature(CRITERIA["hug"]).arguments


@pytest.mark.parametrize("name", ["model_dump", "json", "copy"])
def test_an_argument_with_an_odd_name_is_taken_or_refused_in_a_line(
    tmp_path: Path, name: str, recwarn
) -> None:
    path = tmp_path / "loss.py"
    path.write_text(f"class Mine:\n    def __init__(self, {name}: int = 1): ...\n")
    try:
        assert validate_arguments(signature(f"{path}:Mine"), {name: 2}) == {name: 2}
    except UserError as error:
        assert "takes an argument that a suite cannot name" in str(error)
        assert str(error).startswith(f"{path}:1: ")
    assert not recwarn.list


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_every_criterion_documents_equation_arguments_and_source(name: str) -> None:
    found = signature(CRITERIA[name])
    assert "Equation:" in found.doc
    assert "Source:" in found.doc
    for argument in found.arguments:
        assert argument.default is not None, "an argument without a default"
        assert f"{argument.name}:" in found.doc


@pytest.mark.parametrize("name", sorted(EVALUATIONS))
def test_every_evaluation_documents_its_arguments(name: str) -> None:
    found = signature(EVALUATIONS[name])
    for argument in found.arguments:
        assert f"{argument.name}:" in found.doc
