"""Numbers from papers, with their source: to be shown beside one's own, never mixed with them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from hugbench.errors import UserError
from hugbench.suite.baselines import FOLDER, PUBLISHED
from hugbench.suite.nodes import read
from hugbench.suite.sections import validate
from hugbench.types import Fraction, Frozen, PositiveInt


class Source(Frozen):
    """Where a number stands. `secondary`: it was read in another work that quotes this one."""

    paper: str
    arxiv: str | None = Field(None, pattern=r"^\d{4}\.\d{4,5}$")
    place: str | None = None
    secondary: bool = False

    def __str__(self) -> str:
        """Paper, arXiv number, table: one line."""
        archive = f"arXiv {self.arxiv}" if self.arxiv else ""
        told = ", ".join(part for part in (self.paper, archive, self.place) if part)
        return f"{told} (as quoted by others)" if self.secondary else told


class Setting(Frozen):
    """What of a model's data and training a number depends on; null: not that."""

    imbalance_factor: PositiveInt | None = None
    experiences: PositiveInt | None = None
    strategy: str | None = None
    memory: PositiveInt | None = None
    epochs: PositiveInt | None = None

    def __str__(self) -> str:
        """`imbalance_factor 100`, what there is of it."""
        return ", ".join(f"{name} {value}" for name, value in self.model_dump(exclude_none=True).items())


class Number(Frozen):
    """One criterion's number: what hugbench calls it, what the paper calls the method, and the fraction."""

    criterion: str
    method: str
    value: Fraction
    deviation: Fraction | None = None
    seeds: PositiveInt | None = None


class Result(Frozen):
    """Numbers of one table that share all but the criterion. backbone null: the source is read without it."""

    source: str
    dataset: str
    backbone: str | None
    protocol: Literal["standard", "continual"]
    setting: Setting = Setting()
    evaluation: Literal["accuracy", "adversarial", "corruption"] = "accuracy"
    condition: str = "clean"
    metric: Literal["accuracy", "error", "robust_accuracy"]
    numbers: tuple[Number, ...] = Field(min_length=1)


class PublishedFile(Frozen):
    """The keys of `baselines/published.yaml`."""

    sources: dict[str, Source]
    results: tuple[Result, ...]


@dataclass(frozen=True)
class Published:
    """One published number with all that it is of; `value` and `deviation` are fractions."""

    result: Result
    number: Number
    source: Source

    def to_json(self) -> dict[str, Any]:
        """A flat dict, marked `published`."""
        of, number = self.result, self.number
        return {
            "published": True,
            "criterion": number.criterion,
            "method": number.method,
            "dataset": of.dataset,
            "backbone": of.backbone,
            "protocol": of.protocol,
            **of.setting.model_dump(),
            "evaluation": of.evaluation,
            "condition": of.condition,
            "metric": of.metric,
            "value": number.value,
            "deviation": number.deviation,
            "seeds": number.seeds,
            "source": str(self.source),
            "arxiv": self.source.arxiv,
        }


@lru_cache(maxsize=4)
def read_published(file: Path | None = None) -> tuple[Published, ...]:
    """Every published number that hugbench ships, or that a file has.

    Raises:
        UserError: the file is not as it should be.
    """
    package = Path(__file__).resolve().parents[1]
    shipped = package / "_shipped" / FOLDER / PUBLISHED
    path = file or (shipped if shipped.is_file() else package.parent / FOLDER / PUBLISHED)
    found = validate(read(path, "published numbers"), PublishedFile, "")
    for place, result in enumerate(found.results):
        if result.source not in found.sources:
            raise UserError(
                "no such source",
                where=path,
                key=f"results.{place}.source",
                found=result.source,
                expected=f"one of: {', '.join(found.sources)}",
            )
    return tuple(
        Published(result, number, found.sources[result.source])
        for result in found.results
        for number in result.numbers
    )


def published(dataset: str | None = None) -> list[dict[str, Any]]:
    """Numbers from papers as flat dicts, each with its source.

    Args:
        dataset: of this data set only.

    Raises:
        UserError: there are none of it.
    """
    found = read_published()
    names = sorted({each.result.dataset for each in found})
    if dataset is not None and dataset not in names:
        raise UserError(
            "there are no published numbers of it",
            where="published",
            found=dataset,
            expected=f"one of: {', '.join(names)}",
        )
    return [each.to_json() for each in found if dataset in (None, each.result.dataset)]


def beside(specifications: Iterable[Mapping[str, Any]]) -> list[Published]:
    """The published numbers of the same data set, family of backbones and protocol as some runs.

    The same protocol: no stream and the same imbalance, or a stream of as many experiences with a strategy
    and a memory that a run has.

    Args:
        specifications: what the runs' `run.yaml` hold.
    """
    asked = {_place(specification) for specification in specifications}
    return [each for each in read_published() if _places(each.result) & asked]


def family(backbone: str) -> str:
    """`resnet` of `resnet18` and `resnet32`; what is before the first digit."""
    return re.split(r"\d", backbone, maxsplit=1)[0].rstrip("_")


def _place(specification: Mapping[str, Any]) -> tuple[Any, ...]:
    data, protocol = specification["dataset"], specification["protocol"]
    place = data["name"], family(specification["model"]["backbone"]), protocol["name"]
    if protocol["name"] == "standard":
        return (*place, (data.get("long_tail") or {}).get("imbalance_factor"))
    strategy = protocol["strategy"]
    arguments = json.loads(strategy["arguments"])
    return (*place, protocol["experiences"], strategy["name"], arguments.get("memory"))


def _places(result: Result) -> set[tuple[Any, ...]]:
    """The places that a result fits; hugbench's variants of DER count as DER. None without a backbone."""
    if result.backbone is None:
        return set()
    of = result.setting
    place = result.dataset, family(result.backbone), result.protocol
    if result.protocol == "standard":
        return {(*place, of.imbalance_factor)}
    return {(*place, of.experiences, name, of.memory) for name in (of.strategy, f"{of.strategy}_criterion")}
