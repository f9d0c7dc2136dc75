"""Baselines: a criterion with its own recipe and its source, one YAML file each.

A suite names one by its path (`baselines/normface.yaml`) where it would name a criterion; the bare
name (`normface`) stays the criterion with its defaults under the suite's recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from hugbench.errors import UserError, nearest
from hugbench.suite.nodes import Node, read
from hugbench.suite.sections import merged, validate
from hugbench.types import Frozen

FOLDER = "baselines"
PUBLISHED = "published.yaml"
"""Numbers from papers, which lie there as well (`hugbench.results.published`)."""


class Citation(Frozen):
    """Where a loss was published; `arxiv` is null where it is not there."""

    authors: str
    title: str
    venue: str
    year: int
    arxiv: str | None = None

    def __str__(self) -> str:
        """Authors, title, venue year, arXiv number: one line."""
        archive = f", arXiv {self.arxiv}" if self.arxiv else ""
        return f"{self.authors}, {self.title.rstrip('.')}, {self.venue} {self.year}{archive}"


class BaselineFile(Frozen):
    """The keys of a baseline's file. `criterion` and `recipe` are those of an entry of a suite."""

    criterion: Any
    recipe: dict[str, Any] = Field(default_factory=dict)
    tuned: bool = False
    citation: Citation | None = None
    notes: str = ""


@dataclass(frozen=True)
class Baseline:
    """A baseline as read.

    Attributes:
        file: where it stands; its name without `.yaml` is the arm's label.
        criterion: name of the criterion.
        arguments: its arguments, a mapping node or null.
        recipe: its own recipe, a mapping node or null.
        text: all of the file, checked.
    """

    file: Path
    criterion: str
    arguments: Node
    recipe: Node | None
    text: BaselineFile


def read_baseline(file: Path) -> Baseline:
    """A baseline's file, strictly.

    Raises:
        UserError: not strict YAML, an unknown or a missing key, or not one criterion.
    """
    root = read(file, "a baseline")
    text = validate(root, BaselineFile, "")
    assert isinstance(root.value, dict)
    criterion = root.value["criterion"]
    named = {criterion.value: criterion.with_value(None)} if isinstance(criterion.value, str) else None
    entries = criterion.value if isinstance(criterion.value, dict) else named
    if entries is None or len(entries) != 1 or any(map(is_baseline, entries)):
        raise UserError(
            "not one criterion",
            where=criterion.mark,
            key="criterion",
            found=criterion.plain(),
            expected="a name, or {name_of_criterion: {arguments}}",
        )
    [(name, arguments)] = entries.items()
    return Baseline(file, name, arguments, root.value.get("recipe"), text)


def is_baseline(name: str) -> bool:
    """Whether a criterion's name is the path of a baseline."""
    return name.endswith((".yaml", ".yml"))


def shipped_baselines() -> dict[str, Path]:
    """The baselines that came with hugbench, by name."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "_shipped" / FOLDER
    folder = shipped if shipped.is_dir() else package.parent / FOLDER
    return {path.stem: path for path in sorted(folder.glob("*.yaml")) if path.name != PUBLISHED}


def opened(entry: Node, folder: Path) -> tuple[Node, Path]:
    """An entry of `criteria` that names a baseline, spelled out; any other as it is.

    Arguments and a recipe beside the path come on top of the file's, key by key.

    Args:
        entry: a path, or a mapping {path: arguments} with `name` and `recipe` beside it if wanted.
        folder: where the entry's paths start.

    Returns:
        The entry as {criterion: arguments, name: label, recipe: recipe}, and the folder where the
        paths in it start: the baseline's own.

    Raises:
        UserError: no such baseline, or it is not one.
    """
    given = {entry.value: Node(None, entry.mark)} if isinstance(entry.value, str) else entry.value
    if not isinstance(given, dict):
        return entry, folder
    paths = [name for name in given if is_baseline(name)]
    if len(paths) != 1 or set(given) - {"name", "recipe", paths[0]}:
        return entry, folder
    found = read_baseline(_find(paths[0], folder, entry.mark))
    spelled = {
        "name": Node(found.file.stem, entry.mark),
        **{key: child for key, child in given.items() if key != paths[0]},
        found.criterion: _over(found.arguments, given[paths[0]]),
    }
    if found.recipe is not None:
        spelled["recipe"] = _over(found.recipe, given.get("recipe"))
    return entry.with_value(spelled), found.file.parent


def _over(base: Node, override: Node | None) -> Node:
    return merged(base, None if override is None or override.value is None else override)


def _find(name: str, folder: Path, where: str) -> Path:
    """The file: from the entry's folder, from the current one, or the shipped one of that name."""
    shipped, path = shipped_baselines(), Path(name)
    for candidate in (folder / path, path):
        if candidate.is_file():
            return candidate
    same = shipped.get(path.stem)
    if same is not None and path in (Path(same.name), Path(FOLDER, same.name)):
        return same
    near = nearest(path.stem, shipped)
    raise UserError(
        "no such baseline",
        where=where,
        key="criteria",
        found=name,
        expected=f"the path of a baseline's YAML file, or {FOLDER}/NAME.yaml of a shipped one",
        nearest=f"{FOLDER}/{near}.yaml" if near else None,
    )
