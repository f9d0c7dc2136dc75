"""From a criterion as a suite names it to a live one: whatever is wrong with a loss of one's own is said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from hugbench.criteria.adapt import LogitsLoss
from hugbench.criteria.build import build_criterion
from hugbench.criteria.hug import HUG
from hugbench.errors import UserError
from hugbench.suite.nodes import Node
from hugbench.suite.plugins import CriterionSpec, criterion

SOURCE = '''\
import torch
from torch import nn
from hugbench import HUG, Criterion
from hugbench.types import Positive


class Good(Criterion):
    def __init__(self, in_features, num_classes, *, scale: Positive = 1.0):
        super().__init__(in_features, num_classes)
        self.head, self.scale = nn.Linear(in_features, num_classes), scale

    def forward(self, features, targets):
        return nn.functional.cross_entropy(self.logits(features), targets)

    def logits(self, features):
        return self.scale * self.head(features)


class Turned(HUG):
    """HUG, subclassed through the public door: its arguments are HUG's."""


class Counting(Good):
    calls = 0

    def start_training(self, class_counts):
        self.counts = class_counts

    def forward(self, features, targets):
        self.calls += 1
        return super().forward(features, targets) + 0 * torch.rand(()) * self.counts.sum()


class Plain(nn.Module):
    def __init__(self, gain: float = 1.0):
        super().__init__()
        self.gain = gain

    def forward(self, logits, targets):
        return self.gain * nn.functional.cross_entropy(logits, targets)


class NoModule:
    pass


class Raises(Good):
    def __init__(self, in_features, num_classes):
        raise RuntimeError("not\\ntoday")


class Refuses(Good):
    def __init__(self, in_features, num_classes, *, scale=1.0):
        if scale > 0:
            raise ValueError(f"scale: expected at most 0, found {scale}")


class Abstract(Criterion):
    def forward(self, features, targets):
        return features.sum()


class NoHead(Criterion):
    def __init__(self):
        super().__init__(1, 2)


class PerImage(Good):
    def forward(self, features, targets):
        return nn.functional.cross_entropy(self.logits(features), targets, reduction="none")


class PlainPerImage(nn.Module):
    def forward(self, logits, targets):
        return nn.functional.cross_entropy(logits, targets, reduction="none")


class Number(Good):
    def forward(self, features, targets):
        return 1.0


class Detached(Good):
    def forward(self, features, targets):
        return super().forward(features, targets).detach()


class Mistaken(Good):
    def forward(self, features, targets):
        return features @ self.head.weight


class Logits(Good):
    def logits(self, features):
        return self.head(features)[:, :-1]

    def forward(self, features, targets):
        return self.head(features).square().mean()


class NoLogits(Good):
    def logits(self, features):
        return None

    def forward(self, features, targets):
        return self.head(features).square().mean()


class Uncopied(Good):
    def __init__(self, in_features, num_classes):
        super().__init__(in_features, num_classes)
        self.stream = open(__file__)
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "loss.py"
    path.write_text(SOURCE)
    return path


def spec(name: str, **arguments: object) -> CriterionSpec:
    return criterion(
        name, Node({key: Node(value, "here") for key, value in arguments.items()}, "here"), "here", Path()
    )


def line(text: str) -> int:
    return SOURCE[: SOURCE.index(text)].count("\n") + 1


def test_a_criterion_of_ones_own_gets_its_arguments(file: Path) -> None:
    made = build_criterion(spec(f"{file}:Good", scale=3.0), 6, 4)
    assert (made.in_features, made.num_classes, made.scale) == (6, 4, 3.0)


def test_a_loss_of_logits_gets_a_head(file: Path) -> None:
    made = build_criterion(spec(f"{file}:Plain", gain=2.0), 6, 4)
    assert isinstance(made, LogitsLoss)
    assert made.loss.gain == 2.0
    assert isinstance(build_criterion(spec("torch.nn.MultiMarginLoss", margin=0.5), 6, 4), LogitsLoss)


def test_a_subclass_of_hug_takes_hugs_arguments(file: Path) -> None:
    made = build_criterion(spec(f"{file}:Turned", alpha=0.25), 6, 4)
    assert isinstance(made, HUG)
    assert "alpha=0.25" in repr(made)
    with pytest.raises(UserError, match="did you mean 'alpha'"):
        spec(f"{file}:Turned", alhpa=0.25)


def test_trying_it_out_leaves_the_criterion_and_the_generator_alone(file: Path) -> None:
    torch.manual_seed(3)
    torch.nn.Linear(6, 4)
    expected = torch.rand(())
    torch.manual_seed(3)
    made = build_criterion(spec(f"{file}:Counting"), 6, 4)
    assert torch.rand(()) == expected
    assert made.calls == 0
    assert not hasattr(made, "counts")
    assert all(parameter.grad is None for parameter in made.parameters())


@pytest.mark.parametrize(
    ("name", "words", "at"),
    [
        ("NoModule", ["is no torch.nn.Module", "a hugbench.Criterion"], None),
        ("Raises", ["cannot be built (RuntimeError: not today)"], 'raise RuntimeError("not'),
        ("Refuses", ["criteria.Refuses: scale: expected at most 0, found 1.0"], 'raise ValueError(f"scale'),
        ("Abstract", ["cannot be built (TypeError", "abstract", "logits"], None),
        ("NoHead", ["cannot be built (TypeError"], None),
        ("PerImage", ["fails when tried on 8 images", "expected a scalar loss, found shape (8,)"], None),
        ("PlainPerImage", ["expected a scalar loss, found shape (8,)"], None),
        ("Number", ["expected a scalar loss, found float"], None),
        ("Detached", ["the loss does not depend on the features", "a gradient"], None),
        ("Mistaken", ["fails when tried on 8 images (RuntimeError", "shapes cannot be multiplied"], "return features @"),
        ("Logits", ["logits of the wrong shape", "found (8, 3)", "expected (8, 4)"], None),
        ("NoLogits", ["logits of the wrong shape", "found 'NoneType'"], None),
        ("Uncopied", ["fails when tried on 8 images (TypeError", "pickle"], None),
    ],
)  # fmt: skip
def test_what_is_wrong_with_it_is_one_line_with_its_place(file: Path, name: str, words, at) -> None:
    with pytest.raises(UserError) as caught:
        build_criterion(spec(f"{file}:{name}"), 6, 4)
    message = str(caught.value)
    assert "\n" not in message
    assert f"criteria.{name}: " in message
    for word in words:
        assert word in message
    if at is not None:
        assert message.startswith(f"{file}:{line(at)}: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "import no_such_package\nclass Good: ...\n",
            ":1: criteria.Good: cannot be loaded (ModuleNotFoundError",
        ),
        ("class Good: ...\nraise SystemExit(3)\n", ":2: criteria.Good: cannot be loaded (SystemExit: 3)"),
        ("class Good: ...\n1 / 0\n", ":2: criteria.Good: cannot be loaded (ZeroDivisionError"),
        ("class Good: ...\ndel Good\n", "cannot be loaded (AttributeError"),
    ],
)
def test_a_file_that_does_not_load_is_said(file: Path, text: str, words: str) -> None:
    file.write_text(text)
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        build_criterion(spec(f"{file}:Good"), 6, 4)
    assert words in str(caught.value)


def test_arguments_that_hugbenchs_own_refuse_name_no_file_of_hugbench() -> None:
    with pytest.raises(UserError, match=r"^criteria\.etf_dot_regression: ") as caught:
        build_criterion(spec("etf_dot_regression"), 3, 10)
    assert caught.value.where is None


class TestDotted:
    @pytest.fixture
    def package(self, tmp_path: Path, monkeypatch):
        """Writes modules of a package on the path, and forgets them afterwards."""

        def write(**modules: str) -> None:
            folder = tmp_path / "lossy_things"
            folder.mkdir(exist_ok=True)
            for name, text in {"__init__": "", **modules}.items():
                (folder / f"{name}.py").write_text(text)
            forget()

        def forget() -> None:
            for name in [name for name in sys.modules if name.partition(".")[0] == "lossy_things"]:
                del sys.modules[name]

        monkeypatch.syspath_prepend(tmp_path)
        yield write
        forget()

    def test_its_source_is_part_of_its_identity(self, package) -> None:
        package(losses=SOURCE)
        before = spec("lossy_things.losses.Plain", gain=2.0)
        package(losses=SOURCE + "\n# changed\n")
        after = spec("lossy_things.losses.Plain", gain=2.0)
        assert (before.name, before.kind, before.values()) == ("Plain", "dotted", {"gain": 2.0})
        assert before.source_sha256 != after.source_sha256
        assert before.identity() != after.identity()

    @pytest.mark.parametrize("name", ["torch.nn.MultiMarginLoss", "timm.loss.LabelSmoothingCrossEntropy"])
    def test_of_torch_and_timm_it_is_not(self, name: str) -> None:
        """What all runs rest on is noted with every run instead."""
        assert spec(name).source_sha256 is None

    def test_the_file_is_the_one_that_defines_it(self, package) -> None:
        package(__init__="from lossy_things.losses import Plain\n", losses=SOURCE)
        assert spec("lossy_things.Plain").source_sha256 == spec("lossy_things.losses.Plain").source_sha256

    def test_a_default_that_is_no_data_stays_with_the_class(self, package) -> None:
        package(
            losses="""\
from torch import nn

class Loss(nn.Module):
    def __init__(self, inner=nn.CrossEntropyLoss(), power=float("inf"), gain=1.0, _hidden=3):
        super().__init__()
        self.inner, self.gain = inner, gain

    def forward(self, logits, targets):
        return self.gain * self.inner(logits, targets)
"""
        )
        found = spec("lossy_things.losses.Loss", gain=3.0)
        assert found.values() == {"gain": 3.0}
        made = build_criterion(found, 6, 4)
        assert isinstance(made.loss.inner, torch.nn.CrossEntropyLoss)
        with pytest.raises(UserError, match="_hidden: unknown key"):
            spec("lossy_things.losses.Loss", _hidden=2)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("raise RuntimeError('broken\\nhere')\n", r"cannot be imported \(RuntimeError: broken here\)"),
            ("raise SystemExit\n", r"cannot be imported \(SystemExit"),
            ("import no_such_package\n", r"cannot be imported \(ModuleNotFoundError.*no_such_package"),
            ("class Loss(:\n", r"cannot be imported \(SyntaxError"),
            ("Loss = 3\n", "no such class"),
        ],
    )
    def test_a_module_that_does_not_import_is_one_line(self, package, text: str, words: str) -> None:
        package(losses=text)
        with pytest.raises(UserError, match=words) as caught:
            spec("lossy_things.losses.Loss")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("name", ["no_such_package.Loss", "torch.no_such_module.Loss", "math.pi.Loss"])
    def test_a_module_that_is_not_there(self, name: str) -> None:
        with pytest.raises(UserError, match="no such module"):
            spec(name)

    @pytest.mark.parametrize("name", ["torch..Loss", ".Loss", "a-b.Loss", "torch.nn.", "1.5"])
    def test_what_is_no_dotted_path(self, name: str) -> None:
        with pytest.raises(UserError, match="not a dotted path"):
            spec(name)

    def test_a_class_that_is_no_loss(self) -> None:
        with pytest.raises(UserError, match=r"is no torch\.nn\.Module"):
            build_criterion(spec("collections.OrderedDict"), 6, 4)
