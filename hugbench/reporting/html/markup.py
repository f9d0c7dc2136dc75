"""Elements of HTML and SVG as escaped text."""

from __future__ import annotations

from markupsafe import Markup, escape

Attribute = str | float | None

Paint = dict[str, Attribute]
"""Attributes that say how something is drawn."""


def tag(name: str, *children: str, **attributes: Attribute) -> Markup:
    """`<name attribute="value">children</name>`.

    Args:
        name: of the element.
        children: what is in it; text that is no Markup is escaped.
        attributes: an underscore becomes a hyphen, one at the end goes (`class_`); None is left out.
    """
    given = "".join(
        f' {key.removesuffix("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(escape(child) for child in children)
    return Markup(f"<{name}{given}>{inner}</{name}>") if inner else Markup(f"<{name}{given}/>")


def joined(parts: list[Markup]) -> Markup:
    """One after the other."""
    return Markup("").join(parts)


def short(value: float) -> str:
    """A coordinate to a tenth of a unit, without what says nothing: 3, 2.5, 0."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _value(value: str | float) -> str:
    return str(escape(value)) if isinstance(value, str) else short(value)
