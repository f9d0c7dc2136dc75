"""What of a run decides how long it takes, as its specification tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from hugbench.data.known import KNOWN
from hugbench.data.longtail import kept_counts
from hugbench.errors import UserError
from hugbench.suite.schema import LongTail

_FREE = {"validation_seed", "subset_seed", "resident"}
_STEP = ("batch_size", "precision", "channels_last", "compile")


class Traits(NamedTuple):
    """What of a run its speed depends on, as text that is equal where runs are alike.

    `train` and `test` are numbers of images, of an epoch and of the test set; None where only the files
    could tell, and `train` is None for streams, whose epochs differ.
    """

    criterion: str
    dataset: str
    model: str
    protocol: str
    step: str
    train: int | None
    test: int | None


def traits_of(specification: Mapping[str, Any]) -> Traits:
    """The traits of a run.

    Args:
        specification: as `Run.resolved` gives it or `run.yaml` holds it.

    Raises:
        KeyError, TypeError, AttributeError: it is none.
    """
    dataset, recipe = specification["dataset"], specification["recipe"]
    protocol = specification["protocol"]
    return Traits(
        specification["criterion"]["name"],
        _text({name: value for name, value in dataset.items() if name not in _FREE}),
        _text(specification["model"]),
        _text(protocol),
        _text({name: recipe[name] for name in _STEP}),
        training_images(dataset) if protocol["name"] == "standard" else None,
        _test_images(dataset),
    )


def training_images(dataset: Mapping[str, Any]) -> int | None:
    """How many images are left for training by a data set's specification; None where only files can tell."""
    known, most = KNOWN.get(dataset["name"]), dataset["max_train"]
    if known is None:
        return most if isinstance(most, int) else None
    classes = known.class_count
    each = known.train // classes - round(dataset["validation"] * (known.train // classes))
    if dataset["long_tail"] is not None:
        try:
            return sum(kept_counts(each, classes, LongTail(**dataset["long_tail"]), most))
        except (UserError, ValidationError):
            return None
    whole: int = each * classes
    return whole if most is None else min(whole, int(most))


def _test_images(dataset: Mapping[str, Any]) -> int | None:
    known, most = KNOWN.get(dataset["name"]), dataset["max_test"]
    if known is None:
        return most if isinstance(most, int) else None
    return known.test if most is None else min(known.test, int(most))


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
