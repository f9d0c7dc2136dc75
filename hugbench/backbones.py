"""The backbones that timm has, and hugbench's own, read from their sources: no import of timm or torch."""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path

from hugbench.errors import UserError, nearest

OWN = Path(__file__).parent / "models" / "mlp.py"

_REGISTERED = re.compile(rb"^@register_model\s+def\s+(\w+)", re.MULTILINE)


@lru_cache(maxsize=1)
def backbone_names() -> tuple[str, ...]:
    """Every architecture of `timm.list_models()` and of `hugbench.models.mlp`, numbers in their order.

    Raises:
        UserError: timm is not installed.
    """
    timm = importlib.util.find_spec("timm")
    if timm is None or timm.origin is None:
        raise UserError("timm is not installed", key="model.backbone", expected="pip install timm")
    sources = [*(Path(timm.origin).parent / "models").glob("*.py"), OWN]
    names = {name.decode() for source in sources for name in _REGISTERED.findall(source.read_bytes())}
    return tuple(sorted(names, key=_natural))


@lru_cache(maxsize=1)
def own_names() -> tuple[str, ...]:
    """The architectures that hugbench registers with timm."""
    return tuple(name.decode() for name in _REGISTERED.findall(OWN.read_bytes()))


def check_backbone(name: str, where: str | None = None) -> None:
    """Refuse an architecture that timm does not have.

    A tag of weights, as in `resnet18.a1_in1k`, is left to timm.

    Args:
        name: as in the suite.
        where: file, line and column of it.

    Raises:
        UserError: timm has no such model; names the nearest.
    """
    architecture = name.partition(".")[0]
    names = backbone_names()
    if architecture not in names:
        raise UserError(
            "unknown backbone",
            where=where,
            key="model.backbone",
            found=name,
            expected="a model name of timm, see `hugbench list backbones`",
            nearest=nearest(architecture, names),
        )


def _natural(name: str) -> list[tuple[str, int]]:
    """A sort key that puts resnet18 before resnet101."""
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", name)]
