"""Fails with one line where the device under test is not there."""

from __future__ import annotations

import os
import sys

from hugbench.errors import UserError
from hugbench.execution.device import find_device

if __name__ == "__main__":
    name = os.environ.get("HUGBENCH_TEST_DEVICE", "cuda")
    try:
        find_device(name)
    except UserError as error:
        sys.exit(f"tox -e gpu: HUGBENCH_TEST_DEVICE={name}: {error}")
