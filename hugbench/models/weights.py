"""A classifier's weights on disk, as safetensors: data, never code."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError

from hugbench.errors import CorruptFile, UserError
from hugbench.models.classifier import Classifier
from hugbench.storage import write_atomic


def save(classifier: Classifier, path: Path) -> None:
    """Write the state of the classifier, criterion and statistics included, atomically to `path`."""
    write_atomic(path, packed(classifier))


def packed(classifier: Classifier) -> bytes:
    """The state of the classifier as a safetensors file: a tensor that goes by two names is in it twice."""
    state = classifier.state_dict()
    tensors = {name: tensor.to("cpu", copy=True).contiguous() for name, tensor in state.items()}
    return safetensors.torch.save(tensors)


def load_weights(classifier: Classifier, path: Path) -> None:
    """Put the weights that `save` wrote into a classifier of the same make, wherever it is.

    Raises:
        CorruptFile: `path` is no whole safetensors file.
        UserError: the weights are those of another model.
    """
    try:
        tensors = safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise CorruptFile(path, str(error)) from error
    try:
        classifier.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"does not fit the model: {error}", where=path) from error
