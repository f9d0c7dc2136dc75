"""Published data sets: the digits of scikit-learn, and what torchvision reads and downloads."""

from __future__ import annotations

import hashlib
import os
import socket
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hugbench.data.known import Known
from hugbench.data.whole import Arrays
from hugbench.errors import UserError
from hugbench.seeding import generator

SECONDS_WITHOUT_AN_ANSWER = 30.0


def digits() -> tuple[Arrays, Arrays]:
    """scikit-learn's handwritten digits: 1,437 training and 360 test images, 8x8.

    Values 0 to 16 become round(255 v / 16). scikit-learn has no split of them: the test images
    are 36 of each class, drawn by the axis "digits" of seed 0.
    """
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    images = np.rint(values * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    order = torch.randperm(len(labels), generator=generator(0, "digits")).numpy()
    test = np.zeros(len(labels), bool)
    for label in range(10):
        test[order[labels[order] == label][:36]] = True
    targets = torch.from_numpy(labels.astype(np.int64))
    train = torch.from_numpy(~test)
    return (images[~test], targets[train]), (images[test], targets[~train])


def fingerprint(known: Known, root: Path) -> str:
    """sha256 over name, size and time of change of the files that torchvision reads."""
    states = [(file, (root / file).stat()) for file in known.files]
    lines = "".join(f"{file} {state.st_size} {state.st_mtime_ns}\n" for file, state in states)
    return hashlib.sha256(lines.encode()).hexdigest()


def read(known: Known, root: Path) -> tuple[Arrays, Arrays]:
    """Training and test images from the files of torchvision, which checks those of CIFAR and SVHN.

    Raises:
        UserError: a file is damaged.
    """
    try:
        train, test = (_arrays(_torchvision(known, root, part)) for part in ("train", "test"))
        for images, labels in (train, test):
            if len(images) != len(labels) or not 0 <= int(labels.min()) <= int(labels.max()) < len(
                known.classes
            ):
                raise ValueError(f"{len(images)} images, {len(labels)} labels up to {int(labels.max())}")
    except (OSError, RuntimeError, ValueError, TypeError, AssertionError, EOFError) as error:
        raise UserError(
            f"the files of {known.name} are damaged ({_one_line(error)})",
            where=root,
            expected=f"{', '.join(known.files)} as published: remove them, and they are downloaded again",
        ) from error
    return train, test


def download(known: Known, root: Path, notify: Callable[[str], None]) -> None:
    """Download and unpack a set into the data folder; archives that lie there are only unpacked.

    The files are put in place when all are complete. Where that fails nothing is left behind.

    Raises:
        UserError: there is no network, no room, or the download is not what was published.
    """
    notify(f"{known.name}: not in {root}, downloading it")
    try:
        with tempfile.TemporaryDirectory(prefix=".hugbench-", dir=_existing(root)) as name, _impatient():
            folder = Path(name)
            for archive in known.archives:
                if (root / archive).is_file():
                    (folder / archive).parent.mkdir(parents=True, exist_ok=True)
                    (folder / archive).symlink_to((root / archive).absolute())
            for part in ("train", "test"):
                _torchvision(known, folder, part, download=True)
            for file in known.files:
                if not (folder / file).is_symlink():
                    (root / file).parent.mkdir(parents=True, exist_ok=True)
                    os.replace(folder / file, root / file)
    except (OSError, RuntimeError, HTTPException, EOFError, tarfile.TarError) as error:
        raise UserError(
            f"{known.name} is not here and cannot be downloaded ({_one_line(error)})",
            where=root,
            expected=f"{' and '.join(known.archives)} in {root}, "
            f"or images in {root / known.name}/{{train,test}}/CLASS/*.png",
        ) from error


def _torchvision(known: Known, root: Path, part: str, *, download: bool = False) -> Any:
    import torchvision

    assert known.torchvision is not None
    kind = getattr(torchvision.datasets, known.torchvision)
    which = {"split": part} if known.torchvision == "SVHN" else {"train": part == "train"}
    return kind(root, download=download, **which)


def _arrays(found: Any) -> Arrays:
    """torchvision holds (N, H, W), (N, H, W, 3) or, in SVHN, (N, 3, H, W)."""
    images = np.asarray(found.data)
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[-1] == 3:
        images = images.transpose(0, 3, 1, 2)
    labels = found.targets if hasattr(found, "targets") else found.labels
    return np.ascontiguousarray(images), torch.as_tensor(labels, dtype=torch.int64)


@contextmanager
def _impatient() -> Iterator[None]:
    """Give up a connection that says nothing for long, which torchvision would wait for for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_WITHOUT_AN_ANSWER)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _existing(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def _one_line(error: Exception, limit: int = 200) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
