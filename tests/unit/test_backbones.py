"""The static listing of backbones against timm itself."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from hugbench.backbones import backbone_names, check_backbone, own_names
from hugbench.errors import UserError


def test_equals_the_listing_of_timm():
    timm = pytest.importorskip("timm")
    importlib.import_module("hugbench.models.mlp")
    names = backbone_names()
    assert own_names() == ("mlp_100_100", "mlp_400_400")
    assert set(names) == set(timm.list_models())
    assert len(names) == len(set(names))
    assert names.index("resnet18") < names.index("resnet101")


def test_imports_neither_torch_nor_timm():
    code = (
        "import sys; from hugbench.backbones import backbone_names; assert 'resnet18' in backbone_names(); "
        "print(sorted({'torch', 'timm', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["resnet18", "test_vit", "resnet18.a1_in1k"])
def test_accepts_an_architecture_with_or_without_a_tag(name):
    check_backbone(name)


@pytest.mark.parametrize(("name", "near"), [("reznet18", "resnet18"), ("ResNet50.a1_in1k", "resnet50")])
def test_unknown_name_gets_the_nearest(name, near):
    with pytest.raises(UserError) as caught:
        check_backbone(name, where="suite.yaml:3:5")
    error = caught.value
    assert (error.where, error.key, error.found, error.nearest) == (
        "suite.yaml:3:5",
        "model.backbone",
        name,
        near,
    )
