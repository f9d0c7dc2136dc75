"""Every family of timm, by one small member: it trains two steps with HUG and with cross-entropy.

A family is a module of `timm.models`. The members were found by counting parameters; those families
are left out, with the reason, that have no small member or none for small images.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch

from hugbench.criteria.base import Criterion
from hugbench.criteria.hug import HUG
from hugbench.criteria.softmax import CrossEntropy
from hugbench.errors import UserError
from hugbench.models import build
from hugbench.models.classifier import Classifier
from hugbench.suite.schema import ModelSpec

LARGEST = 32_000_000
"""Parameters of the largest model that is trained here."""

SMALL = {
    "byoanet": "eca_botnext26ts_256",
    "byobnet": "test_byobnet",
    "cait": "cait_xxs24_224",
    "coat": "coat_tiny",
    "convit": "convit_tiny",
    "convmixer": "convmixer_768_32",
    "convnext": "test_convnext",
    "cpubone": "cpubone_nano",
    "crossvit": "crossvit_tiny_240",
    "csatv2": "csatv2",
    "cspnet": "cs3darknet_focus_s",
    "cspnext": "cspnext_tiny",
    "davit": "davit_tiny",
    "deit": "deit_tiny_patch16_224",
    "densenet": "densenet121",
    "dla": "dla46x_c",
    "dpn": "dpn48b",
    "edgenext": "edgenext_xx_small",
    "efficientformer_v2": "efficientformerv2_s0",
    "efficientnet": "test_efficientnet",
    "efficientvim": "efficientvim_m1",
    "efficientvit_mit": "efficientvit_b0",
    "efficientvit_msra": "efficientvit_m0",
    "eva": "vit_tiny_patch16_dinov3_qkvb",
    "fasternet": "fasternet_t0",
    "fastvit": "fastvit_t8",
    "focalnet": "focalnet_tiny_srf",
    "gcvit": "gcvit_xxtiny",
    "ghostnet": "ghostnet_050",
    "hardcorenas": "hardcorenas_b",
    "hgnet": "hgnetv2_b0",
    "hiera": "hiera_tiny_224",
    "hieradet_sam2": "sam2_hiera_tiny",
    "hrnet": "hrnet_w18_small",
    "iformer": "iformer_t",
    "inception_next": "inception_next_atto",
    "lcnetv2": "lcnetv2_small",
    "levit": "levit_128s",
    "lowformer": "lowformer_b0",
    "mambaout": "test_mambaout",
    "maxxvit": "test_coatnet",
    "metaformer": "poolformerv2_s12",
    "mlp_mixer": "gmlp_ti16_224",
    "mobilenetv3": "lcnet_035",
    "mobilevit": "mobilevit_xxs",
    "mvitv2": "mvitv2_tiny",
    "nest": "nest_tiny",
    "nextvit": "nextvit_small",
    "nfnet": "test_nfnet",
    "pit": "pit_ti_224",
    "pvt_v2": "pvt_v2_b0",
    "rdnet": "rdnet_tiny",
    "regnet": "regnetx_002",
    "repghost": "repghostnet_050",
    "repvit": "repvit_m1",
    "res2net": "res2next50",
    "resnest": "resnest14d",
    "resnet": "test_resnet",
    "resnetv2": "resnetv2_18",
    "rexnet": "rexnet_100",
    "selecsls": "selecsls42",
    "senet": "legacy_seresnet18",
    "sequencer": "sequencer2d_s",
    "shvit": "shvit_s1",
    "sknet": "skresnet18",
    "starnet": "starnet_s050",
    "swiftformer": "swiftformer_xs",
    "swin_transformer": "swin_tiny_patch4_window7_224",
    "swin_transformer_v2": "swinv2_tiny_window16_256",
    "swin_transformer_v2_cr": "swinv2_cr_tiny_224",
    "tiny_vit": "tiny_vit_5m_224",
    "tnt": "tnt_s_legacy_patch16_224",
    "tresnet": "tresnet_m",
    "twins": "twins_svt_small",
    "visformer": "visformer_tiny",
    "vision_transformer": "test_vit",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224",
    "vision_transformer_relpos": "test_vit_relpos",
    "vitamin": "vitamin_small_224",
    "volo": "volo_d1_224",
    "vovnet": "ese_vovnet19b_slim_dw",
    "xception": "legacy_xception",
    "xception_aligned": "xception41p",
    "xcit": "xcit_nano_12_p8_224",
}
"""Family -> the member that is trained."""

SIZES = {"crossvit": 36, "csatv2": 64}
"""Pixels a side, where 32 are too few; crossvit's two patch sizes need a size that suits both."""

TOO_LARGE = {
    "beit": 86,
    "deepseek_vit": 412,
    "gemma4_vit": 167,
    "inception_resnet_v2": 54,
    "inception_v4": 41,
    "mobilenetv5": 81,
    "naflexvit": 86,
    "nasnet": 85,
    "pnasnet": 82,
    "qwen3_vit": 87,
    "vgg": 129,
    "vision_transformer_sam": 86,
}
"""Left out: family -> millions of parameters of its smallest member."""

TOO_FINE = {
    "efficientformer": "its attention is made for 224 pixels and takes no other size",
    "inception_v3": "its stem and reductions leave nothing of 64 pixels",
}
"""Left out: family -> why none of its members takes 32 to 64 pixels."""

CLASSES, BATCH = 5, 4
CRITERIA: dict[str, Callable[[int], Criterion]] = {
    "hug": lambda width: HUG(width, CLASSES, start="random"),  # its usual start is an optimum of its proxies
    "cross_entropy": lambda width: CrossEntropy(width, CLASSES),
}


def made(backbone: str, size: int, criterion: str = "hug") -> Classifier:
    return build(
        ModelSpec(backbone=backbone, embedding_dim=16),
        CRITERIA[criterion],
        channels=3,
        image_size=(size, size),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        seed=0,
    )


def parameters(backbone: str) -> int:
    """How many it has without its classifier, counted without memory for them."""
    with torch.device("meta"):
        model = timm.create_model(backbone, num_classes=0)
    return sum(parameter.numel() for parameter in model.parameters())


def test_every_family_is_trained_or_left_out_for_a_reason():
    named = [*SMALL, *TOO_LARGE, *TOO_FINE]
    own = {"mlp"}  # hugbench's, registered with timm
    new = set(timm.list_modules()) - set(named) - own
    assert not new, (
        f"families new in timm {timm.__version__}, for SMALL or a reason to leave them out: {sorted(new)}"
    )
    assert len(named) == len(set(named))


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("family", SMALL)
def test_a_family_trains(family, criterion, device):
    backbone = SMALL[family]
    if family not in timm.list_modules():
        pytest.skip(f"timm {timm.__version__} has no {family}")
    assert backbone in timm.list_models(module=family)
    size = SIZES.get(family, 32)
    classifier = made(backbone, size, criterion).to(device)
    assert sum(parameter.numel() for parameter in classifier.backbone.parameters()) <= LARGEST
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(BATCH, 3, size, size, generator=generator).to(device)
    targets = torch.arange(BATCH, device=device)
    parts = {"backbone": classifier.backbone, "embedding": classifier.embedding, "head": classifier.criterion}
    before = {name: [p.detach().clone() for p in part.parameters()] for name, part in parts.items()}
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.001)
    for _ in range(2):
        optimizer.zero_grad()
        loss = classifier.loss(images, targets)
        loss.backward()
        assert torch.isfinite(loss)
        for name, parameter in classifier.named_parameters():
            assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name
        optimizer.step()
    for name, part in parts.items():
        moved = [not torch.equal(p, was) for p, was in zip(part.parameters(), before[name], strict=True)]
        assert any(moved), f"nothing of the {name} has changed"
    logits = classifier.eval()(images)
    assert logits.shape == (BATCH, CLASSES)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("family", TOO_LARGE)
def test_what_is_left_out_as_too_large_is(family):
    if family not in timm.list_modules():
        pytest.skip(f"timm {timm.__version__} has no {family}")
    smallest = min(map(parameters, timm.list_models(module=family)))
    assert smallest > LARGEST, f"{family} has a member of {smallest:,} parameters now: it can be trained"
    assert round(smallest / 1e6) == TOO_LARGE[family]


@pytest.mark.parametrize("family", TOO_FINE)
def test_what_is_left_out_for_its_image_size_is(family):
    small = [name for name in timm.list_models(module=family) if parameters(name) <= LARGEST]
    assert small, f"{family} belongs to TOO_LARGE"
    for name in small:
        for size in (32, 48, 64):
            with pytest.raises(UserError, match=f"{name} does not take images of {size}x{size} pixels"):
                made(name, size)
