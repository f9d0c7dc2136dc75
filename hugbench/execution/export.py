"""A run's classifier as a folder of its own, with a card that tells what it is and how good."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from hugbench import __version__
from hugbench.criteria.build import build_criterion
from hugbench.errors import CorruptFile, UserError, nearest
from hugbench.execution.preparation import dataset_of
from hugbench.models import build, load_weights
from hugbench.models.folder import write_folder
from hugbench.results.store import RunFolder
from hugbench.signatures import signature
from hugbench.storage import write_atomic
from hugbench.suite.plugins import CriterionSpec, canonical
from hugbench.suite.schema import DatasetSpec, ModelSpec

CARD = "README.md"


def export_run(
    run_id: str,
    directory: Path,
    results: Path,
    data: Path,
    *,
    moment: str | None,
    notify: Callable[[str], None],
) -> Path:
    """Write the classifier of a finished run to `directory`; see `hugbench.api.export`."""
    folder = RunFolder(results, run_id)
    run, status = _specification(folder, results), folder.status()
    if status.state != "trained":
        raise UserError("the run is not trained", key="RUN_ID", found=f"{run_id}, {status.state}")
    weights = _weights(folder, moment)
    if reason := folder.damaged(status, weights):
        raise CorruptFile(weights, f"{reason}; run its suite again")
    dataset = dataset_of(DatasetSpec(**run["dataset"]), data, notify)
    criterion, model = _criterion(run["criterion"]), ModelSpec(**run["model"])
    channels, height, width = dataset.train.shape
    classifier = build(
        model.model_copy(update={"pretrained": False}),
        lambda features: build_criterion(criterion, features, len(dataset.classes)),
        channels=channels,
        image_size=(height, width),
        mean=dataset.mean,
        std=dataset.std,
        seed=run["seed"],
    )
    load_weights(classifier, weights)
    sessions = _sessions(folder)
    keys = [key for key in status.evaluations if key.partition(".")[2] == (moment or "")]
    rows = [{**row, "evaluation": key} for key in keys for row in folder.records(status, key)]
    notes = [note for key in keys for note in status.notes.get(key, [])]
    provenance = {
        "run": run,
        "moment": moment,
        "trained": sessions,
        "training_seconds": status.seconds,
        "exported_by": f"hugbench {__version__}",
    }
    write_folder(
        classifier.eval(),
        directory,
        model=model,
        criterion=criterion,
        classes=dataset.classes,
        image_size=(height, width),
        provenance=provenance,
    )
    card = _card(run, moment, rows, notes, sessions[-1], status.seconds)
    write_atomic(directory / CARD, card.encode())
    return directory


def _specification(folder: RunFolder, results: Path) -> dict[str, Any]:
    path = folder.path / "run.yaml"
    try:
        run: dict[str, Any] = yaml.safe_load(path.read_text())
        if not {"criterion", "dataset", "model", "protocol", "recipe", "seed"} <= {*run}:
            raise CorruptFile(path, "is not what a run writes; run its suite again")
        return run
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        raise CorruptFile(path, "cannot be read; run its suite again") from error
    except FileNotFoundError:
        runs = results / "runs"
        known = sorted(path.name for path in runs.iterdir()) if runs.is_dir() else []
        raise UserError(
            "no such run",
            where=results,
            key="RUN_ID",
            found=folder.run_id,
            expected="an id that `hugbench status SUITE` shows",
            nearest=nearest(folder.run_id, known),
        ) from None


def _sessions(folder: RunFolder) -> list[dict[str, Any]]:
    """The machines that the run was trained on, at least one."""
    path = folder.path / "environment.json"
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text())["sessions"]
        found[-1]["packages"].items()
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CorruptFile(path, f"cannot be read ({type(error).__name__}); run its suite again") from error
    return found


def _weights(folder: RunFolder, moment: str | None) -> Path:
    if moment is None:
        return folder.model
    found = {path.stem: path for path in sorted((folder.path / "snapshots").glob("*.safetensors"))}
    if moment not in found:
        raise UserError(
            "no such moment was kept",
            where=folder.path,
            key="--moment",
            found=moment,
            expected=f"one of: {', '.join(found)}" if found else "none: the run has its end only",
            nearest=nearest(moment, found),
        )
    return found[moment]


def _criterion(given: dict[str, Any]) -> CriterionSpec:
    """The criterion as `run.yaml` tells it, if its source is still what the run was trained with."""
    target, arguments = given["target"], canonical(given["arguments"])
    spec = CriterionSpec(given["name"], "registered", target, arguments, arguments, given["source_sha256"])
    if ":" not in target:
        return CriterionSpec(spec.name, "dotted", target, arguments, arguments, spec.source_sha256)
    if ".py:" not in target:
        return spec
    if signature(target).source_sha256 != spec.source_sha256:
        raise UserError(
            "the loss was edited since the run was trained",
            where=target,
            expected="the file as it was, or a new run",
        )
    return CriterionSpec(spec.name, "file", target, arguments, arguments, spec.source_sha256)


def _card(
    run: dict[str, Any],
    moment: str | None,
    rows: Sequence[dict[str, Any]],
    notes: Sequence[str],
    session: dict[str, Any],
    seconds: float,
) -> str:
    """The model card, Markdown with the front matter that model hubs read."""
    dataset, recipe, model = run["dataset"], run["recipe"], run["model"]
    packages = ", ".join(f"{name} {text}" for name, text in session["packages"].items() if text)
    plain = model["stem"] == "default"
    timm = (
        'backbone = timm.create_model("local-dir:THIS_FOLDER/backbone", pretrained=True)'
        if plain
        else "# timm cannot make this backbone's stem for small images: take classifier.backbone"
    )
    changed = {key: value for key, value in dataset.items() if key != "name" and value not in (None, 0, 0.0)}
    lines = [
        "---",
        "library_name: hugbench",
        "pipeline_tag: image-classification",
        f"tags: [{run['criterion']['name']}, {model['backbone']}, {dataset['name']}]",
        "---",
        f"# {run['run_id']}",
        "",
        f"A `{model['backbone']}` trained with `{run['criterion_as_built']}` on {dataset['name']}"
        f"{f' ({changed})' if changed else ''}, protocol {run['protocol']['name']}, seed {run['seed']}"
        f"{f', as it was at {moment}' if moment else ''}. One run of one seed: whether its loss is better "
        "than another is a question for a suite over seeds.",
        "",
        "```python",
        "from hugbench import Classifier",
        'classifier = Classifier.load("THIS_FOLDER")  # images in [0, 1], NCHW, to logits',
        "import timm",
        timm,
        "```",
        "",
        "## Numbers",
        "",
        *_numbers(rows),
        *(f"- {note}" for note in dict.fromkeys(notes)),
        "",
        "## Training",
        "",
        *(f"- {name}: {value}" for name, value in recipe.items() if value not in (None, [], 0, 0.0)),
        "",
        f"Trained on {session['device_name']} ({session['device']}, {session['threads']} threads) in "
        f"{seconds:.0f} s, {session['started']}; revision {session['git_revision']}; Python "
        f"{session['python']}, {packages}.",
        "",
    ]
    return "\n".join(lines)


def _numbers(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A table of what was measured over all images; the rest is in the run's records."""
    shown = [row for row in rows if row["subset"] == "all"]
    if not shown:
        return ["Nothing was evaluated."]
    lines = ["| evaluation | metric | condition | severity | value | images | reliability |"]
    lines.append("| --- | --- | --- | --- | ---: | ---: | --- |")
    for row in shown:
        value = "none" if row["value"] is None else f"{row['value']:.6g}"
        severity, verdict = row["severity"] or "", row.get("reliability") or ""
        cells = (row["evaluation"], row["metric"], row["condition"], severity, value, row["n"], verdict)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return [*lines, ""]
