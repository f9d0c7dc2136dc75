"""hugbench: is a training loss really better than cross-entropy, and at what?

The verbs of the command line are functions here (`run`, `compare`, `report`, `freeze`, `check`, `published`,
`plan`, `status`, `validate`, `records`, `cards`, `export`, `corrupt`, `show`, `schema`, `doctor`; `list` is
`entries`), beside `HUG`, `Criterion` and `Classifier`. Each is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hugbench.api import cards, export, plan, records, run, status, validate
    from hugbench.checking import check
    from hugbench.comparing import compare
    from hugbench.corrupting import corrupt
    from hugbench.criteria.base import Criterion
    from hugbench.criteria.hug import HUG
    from hugbench.describe import doctor, entries, show
    from hugbench.freezing import freeze
    from hugbench.models import Classifier
    from hugbench.reports import report
    from hugbench.results.comparison import compare_records
    from hugbench.results.published import published
    from hugbench.suite.jsonschema import json_schema as schema

__version__ = "0.1.0"

_DOORS = {
    "run": "hugbench.api",
    "compare": "hugbench.comparing",
    "report": "hugbench.reports",
    "freeze": "hugbench.freezing",
    "published": "hugbench.results.published",
    "check": "hugbench.checking",
    "plan": "hugbench.api",
    "status": "hugbench.api",
    "validate": "hugbench.api",
    "records": "hugbench.api",
    "cards": "hugbench.api",
    "corrupt": "hugbench.corrupting",
    "export": "hugbench.api",
    "show": "hugbench.describe",
    "doctor": "hugbench.describe",
    "entries": "hugbench.describe",
    "list": "hugbench.describe:entries",
    "schema": "hugbench.suite.jsonschema:json_schema",
    "compare_records": "hugbench.results.comparison",
    "Criterion": "hugbench.criteria.base",
    "HUG": "hugbench.criteria.hug",
    "Classifier": "hugbench.models",
}

__all__ = [
    "HUG",
    "Classifier",
    "Criterion",
    "cards",
    "check",
    "compare",
    "compare_records",
    "corrupt",
    "doctor",
    "entries",
    "export",
    "freeze",
    "plan",
    "published",
    "records",
    "report",
    "run",
    "schema",
    "show",
    "status",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module 'hugbench' has no attribute {name!r}")
    module, _, attribute = _DOORS[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
