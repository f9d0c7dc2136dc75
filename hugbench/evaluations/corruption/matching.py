"""Which row of a file of corrupted images belongs to which test image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hugbench.data.images import Images
from hugbench.errors import UserError

ALIKE = 0.9
"""Images and their slightly brightened versions correlate by more than this, different images hardly ever."""

_CPU = torch.device("cpu")
_AT_A_TIME = 1000


def matching_rows(
    images: Images, labels: NDArray[np.int64], brighter: NDArray[np.uint8] | None, where: Path
) -> Tensor:
    """The row in a file of corrupted images that each image was made into.

    A published file has the order of the published test set. The same images in folders may come in
    another: sorted by class, say. Where the labels agree in order and brightened images look like
    the originals, the order is the same. Otherwise each class's images are paired with the rows of
    their label so that the correlations of pixels add up to the most, and every pair must look alike.

    Args:
        images: a split, or a subset of it (`rows` says which).
        labels: of every row, int64 (N,).
        brighter: every row but slightly brightened, uint8 (N, H, W, C); None where there is no such
            file, and the labels alone must do.
        where: what an error points to.

    Returns:
        int64 (len(images),), CPU.

    Raises:
        UserError: the rows are of other images, or their order cannot be told.
    """
    rows, targets = images.rows, images.targets
    in_order = int(rows.max()) < len(labels) and bool((torch.from_numpy(labels)[rows] == targets).all())
    if brighter is None:
        if in_order:
            return rows
        raise _other(where, "labels in another order than those of the test images")
    if in_order and _in_order(images, brighter) >= ALIKE:
        return rows
    found = torch.empty_like(rows)
    for label in np.unique(targets.numpy()).tolist():
        own, theirs = (targets == label).nonzero().flatten(), np.flatnonzero(labels == label)
        if len(own) > len(theirs):
            raise _other(where, f"{len(theirs)} images of class {label}, of which there are {len(own)}")
        found[own] = torch.from_numpy(theirs[_paired(_pixels(images, own), brighter[theirs], where)])
    return found


def _in_order(images: Images, brighter: NDArray[np.uint8]) -> float:
    """Mean correlation of the images with the rows at their own places."""
    total = 0.0
    for pixels, _, indices in images.batches(_AT_A_TIME, _CPU):
        other = brighter[images.rows[indices].numpy()].transpose(0, 3, 1, 2)
        total += float((_standardised(pixels.numpy()) * _standardised(other)).sum())
    return total / len(images)


def _paired(own: NDArray[np.uint8], theirs: NDArray[np.uint8], where: Path) -> NDArray[np.int64]:
    """For each of the images (A, C, H, W) its place among (B, H, W, C), B ≥ A."""
    from scipy.optimize import linear_sum_assignment

    correlations = _standardised(own) @ _standardised(theirs.transpose(0, 3, 1, 2)).T
    _, columns = linear_sum_assignment(correlations, maximize=True)
    least = float(correlations[np.arange(len(own)), columns].min())
    if least < ALIKE:
        raise _other(where, f"images that look like none of the test images (correlation {least:.2f})")
    return np.asarray(columns, np.int64)


def _pixels(images: Images, chosen: Tensor) -> NDArray[np.uint8]:
    return np.concatenate([batch.numpy() for batch, _, _ in images.batches(_AT_A_TIME, _CPU, chosen)])


def _standardised(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Each image as a vector of mean 0 and length 1 (0 for one of a single colour), float32 (N, D)."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return flat


def _other(where: Path, found: str) -> UserError:
    return UserError(
        "the corrupted images are not those of this data set",
        where=where,
        found=found,
        expected="the test images of the data set, corrupted; source: own corrupts them here",
    )
