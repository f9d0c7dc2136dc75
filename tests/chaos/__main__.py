"""The long form: `python -m tests.chaos FOLDER [short]`; HUGBENCH_CHAOS_SEED seeds it.

What an earlier one left in the folder is removed.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.chaos.chaos import LOG, Chaos
from tests.chaos.suites import LONG, SHORT


def main(folder: Path, form: str) -> int:
    """Run it and print the summary; 1 if anything is wrong."""
    if (folder / LOG).exists():
        shutil.rmtree(folder)
    seed = int(os.environ.get("HUGBENCH_CHAOS_SEED") or 0)
    chaos = Chaos(folder, SHORT if form == "short" else LONG, seed)
    wrong = chaos.run()
    print(f"\nchaos, {form} form, seed {seed}\n{chaos.summary()}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:] or ["long"]))
