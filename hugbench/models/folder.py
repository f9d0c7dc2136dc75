"""A trained classifier as a folder that stands on its own: weights, configuration, backbone for timm.

`model.safetensors` and `hugbench.json` make the classifier; `backbone/` is the backbone alone, as timm
stores one. A criterion that is defined in a file of one's own comes along as `criterion.py`, which is code
and is run only where the reader says so.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from hugbench.criteria.build import build_criterion
from hugbench.errors import CorruptFile, UserError
from hugbench.models.assembly import build
from hugbench.models.classifier import Classifier
from hugbench.models.weights import load_weights, save
from hugbench.storage import write_atomic
from hugbench.suite.plugins import CriterionSpec, canonical
from hugbench.suite.schema import ModelSpec

FORMAT = 1
"""Of `hugbench.json`; raised when older readers would misread it."""

CONFIG, WEIGHTS, CODE = "hugbench.json", "model.safetensors", "criterion.py"


def write_folder(
    classifier: Classifier,
    directory: Path,
    *,
    model: ModelSpec,
    criterion: CriterionSpec,
    classes: tuple[str, ...],
    image_size: tuple[int, int],
    provenance: dict[str, Any],
) -> None:
    """Write a classifier to `directory`, which is made.

    Args:
        classifier: a trained one, anywhere.
        directory: new or empty.
        model, criterion: as its suite describes them.
        classes: names, in the order of the labels.
        image_size: (height, width) in pixels of the images that it was trained on.
        provenance: plain data on where it comes from.

    Raises:
        UserError: `directory` holds something, or is no folder.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UserError("is not an empty folder", where=directory, expected="a new folder")
    directory.mkdir(parents=True, exist_ok=True)
    target = criterion.target
    if criterion.kind == "file":
        file, _, name = target.rpartition(":")
        shutil.copyfile(file, directory / CODE)
        target = f"{CODE}:{name}"
    save(classifier, directory / WEIGHTS)
    _write_backbone(classifier, directory / "backbone", model, image_size)
    config = {
        "format": FORMAT,
        "model": model.model_dump(),
        "criterion": {
            "name": criterion.name,
            "kind": criterion.kind,
            "target": target,
            "arguments": criterion.values(),
        },
        "classes": list(classes),
        "channels": classifier.channels,
        "image_size": list(image_size),
        "provenance": provenance,
    }
    write_atomic(directory / CONFIG, _text(config))


def load_folder(directory: str | Path, *, trust_code: bool = False) -> Classifier:
    """The classifier that `write_folder` wrote, on the CPU and in evaluation mode.

    Args:
        directory: the folder.
        trust_code: run the folder's `criterion.py`, if it has one.

    Raises:
        UserError: it is no such folder, of a newer version, or holds code that is not trusted.
        CorruptFile: the weights are damaged.
    """
    directory = Path(directory)
    config = _config(directory)
    given, channels = config["criterion"], config["channels"]
    target = given["target"]
    if given["kind"] == "file":
        if not trust_code:
            raise UserError(
                f"its loss {given['name']} is defined in {CODE}, which is code",
                where=directory / CODE,
                expected="a look at that file, then trust_code=True",
            )
        target = str(directory.resolve() / target)
    arguments = canonical(given["arguments"])
    spec = CriterionSpec(given["name"], given["kind"], target, arguments, arguments)
    classifier = build(
        ModelSpec(**{**config["model"], "pretrained": False}),
        lambda width: build_criterion(spec, width, len(config["classes"])),
        channels=channels,
        image_size=tuple(config["image_size"]),
        mean=[0.0] * channels,
        std=[1.0] * channels,
        seed=0,
    )
    load_weights(classifier, directory / WEIGHTS)
    return classifier.eval()


def _config(directory: Path) -> dict[str, Any]:
    path = directory / CONFIG
    try:
        config: dict[str, Any] = json.loads(path.read_text())
        number = config["format"]
    except FileNotFoundError:
        raise UserError(
            "holds no exported classifier", where=directory, expected=f"a folder with {CONFIG}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptFile(path, f"cannot be read ({type(error).__name__}: {error})") from error
    if number != FORMAT:
        raise UserError(
            "was written by another version", where=path, key="format", found=number, expected=str(FORMAT)
        )
    if wrong := _misfits(config):
        raise CorruptFile(path, f"{', '.join(wrong)}: missing or of another kind")
    return config


def _misfits(config: dict[str, Any]) -> list[str]:
    """The parts of a configuration that are missing or of another kind."""
    kinds = {"model": dict, "criterion": dict, "classes": list, "channels": int, "image_size": list}
    wrong = [key for key, kind in kinds.items() if not isinstance(config.get(key), kind)]
    parts = ("name", "kind", "target", "arguments")
    return wrong or [f"criterion.{key}" for key in parts if key not in config["criterion"]]


def _write_backbone(
    classifier: Classifier, directory: Path, model: ModelSpec, image_size: tuple[int, int]
) -> None:
    """The backbone as timm's `local-dir:` reads it; a cifar stem is noted, as timm cannot make one."""
    backbone: nn.Module = classifier.backbone
    tensors = {name: tensor.cpu().contiguous() for name, tensor in backbone.state_dict().items()}
    directory.mkdir()
    write_atomic(directory / WEIGHTS, safetensors.torch.save(tensors, metadata={"format": "pt"}))
    config = {
        "architecture": model.backbone,
        "num_classes": 0,
        "model_args": {"in_chans": classifier.channels},
        "stem": model.stem,
        "pretrained_cfg": {
            "num_classes": 0,
            "input_size": [classifier.channels, *image_size],
            "mean": classifier.mean.flatten().tolist(),
            "std": classifier.std.flatten().tolist(),
            "crop_pct": 1.0,
            "interpolation": "bilinear",
        },
    }
    write_atomic(directory / "config.json", _text(config))


def _text(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
