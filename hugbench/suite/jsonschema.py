"""The JSON Schema of a suite, for editors: what the strict models say, with lists as axes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from hugbench import registry, signatures
from hugbench.suite.loader import REQUIRED
from hugbench.suite.protocols import SPECS
from hugbench.suite.schema import DatasetSpec, ModelSpec, Recipe

SECTIONS: dict[str, tuple[type[BaseModel], bool]] = {
    "dataset": (DatasetSpec, True),
    "model": (ModelSpec, True),
    "recipe": (Recipe, False),
}


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a suite file."""
    sections = {name: _axis(_section(model), bare=bare) for name, (model, bare) in SECTIONS.items()}
    recipe = _section(Recipe)
    recipe.pop("required", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hugbench suite",
        "type": "object",
        "additionalProperties": False,
        "required": list(REQUIRED),
        "properties": {
            "name": {"type": "string", "description": "name of the suite; its file's name by default"},
            "description": {"type": "string"},
            "baseline": {"type": "string", "description": "the criterion that every other is compared with"},
            "criteria": {
                "type": "array",
                "minItems": 1,
                "items": _plugins(
                    registry.CRITERIA, {"name": {"type": "string"}, "recipe": recipe}, open_names=True
                ),
            },
            **sections,
            "protocol": _axis(_protocol(), bare=False),
            "seeds": {
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": {"type": "integer", "minimum": 0},
            },
            "evaluations": {
                "type": "array",
                "minItems": 1,
                "items": _plugins(registry.EVALUATIONS, {"evaluate_after": {"enum": ["last", "each"]}}),
            },
        },
    }


def _section(model: type[BaseModel]) -> dict[str, Any]:
    """A model's schema without references, every property also allowed as a list (an axis)."""
    schema = model.model_json_schema()
    return _with_axes(schema, schema.pop("$defs", {}))


def _with_axes(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    properties = {
        name: _axis(_inlined(prop, definitions), bare=False) for name, prop in schema["properties"].items()
    }
    return {**{key: value for key, value in schema.items() if key != "title"}, "properties": properties}


def _protocol() -> dict[str, Any]:
    """`standard`, or a mapping from a protocol's name to its fields."""
    fields = {name: _section(model) for name, model in SPECS.items()}
    fields["continual"]["properties"]["strategies"] = _axis(_plugins(registry.STRATEGIES, {}), bare=False)
    fields["continual"]["required"] = ["experiences", "strategies"]
    mapping = {
        "type": "object",
        "properties": fields,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    return {"anyOf": [{"enum": list(SPECS)}, mapping], "default": "standard"}


def _inlined(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema with `$ref`, here or among alternatives, replaced by what it names."""
    if "$ref" in schema:
        named = _with_axes(definitions[schema["$ref"].rpartition("/")[2]], definitions)
        return {**named, **{key: value for key, value in schema.items() if key != "$ref"}}
    if "anyOf" in schema:
        return {**schema, "anyOf": [_inlined(option, definitions) for option in schema["anyOf"]]}
    return schema


def _axis(schema: dict[str, Any], *, bare: bool) -> dict[str, Any]:
    one: dict[str, Any] = {
        key: value for key, value in schema.items() if key not in {"title", "default", "description"}
    }
    kept: dict[str, Any] = {key: schema[key] for key in ("default", "description") if key in schema}
    single = {"anyOf": [one, {"type": "string"}]} if bare else one
    return {"anyOf": [single, {"type": "array", "items": single, "minItems": 1}], **kept}


def _plugins(table: dict[str, str], beside: dict[str, Any], *, open_names: bool = False) -> dict[str, Any]:
    """A list's entry: a bare name, or a name with its arguments and the keys that may stand beside it."""
    names = sorted(table)
    properties = {
        name: {"anyOf": [signatures.signature(table[name]).schema.model_json_schema(), {"type": "null"}]}
        for name in names
    }
    mapping = {"type": "object", "properties": {**properties, **beside}, "additionalProperties": open_names}
    bare: dict[str, Any] = {"type": "string"} if open_names else {"enum": names}
    return {"anyOf": [bare, mapping]}
