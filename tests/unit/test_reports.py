"""The verb report: formats, places, bad input, and no torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from html import escape
from pathlib import Path

import pytest

import hugbench
from hugbench.errors import UserError
from hugbench.reports import report
from tests.unit.reporting.html.make import accuracy, finish, suite

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite and its results."""
    folder = tmp_path_factory.mktemp("done")
    finish(suite(folder), folder / "results", {"accuracy": accuracy})
    return folder


def command(done: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hugbench", "report", str(done / "made_up.yaml"), *map(str, arguments)],
        cwd=done,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_door_is_open() -> None:
    assert hugbench.report is report
    assert "report" in hugbench.__all__


def test_it_lies_beside_the_suites_other_results(done: Path) -> None:
    written = report(done / "made_up.yaml", results=done / "results", bootstrap=0)
    assert written.path == done / "results" / "suites" / "made_up" / "report.html"
    assert written.size == written.path.stat().st_size
    assert (written.runs, written.done, written.form) == (9, 9, "html")
    assert json.loads(json.dumps(written.to_json()))["format"] == "html"
    assert written.path.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("form", "out", "name", "start"),
    [
        ("md", None, "results/suites/made_up/report.md", "**digits"),
        ("tex", None, "results/suites/made_up/report.tex", "% needs"),
        (None, "a.md", "a.md", "**digits"),
        (None, "a.tex", "a.tex", "% needs"),
        (None, "a.htm", "a.htm", "<!doctype html>"),
        ("html", "b.md", "b.md", "<!doctype html>"),
        (None, "new/", "new/report.html", "<!doctype html>"),
        ("md", ".", "report.md", "**digits"),
    ],
)
def test_formats_and_places(done: Path, form: str | None, out: str | None, name: str, start: str) -> None:
    given = None if out is None else f"{done}/{out}"
    written = report(done / "made_up.yaml", results=done / "results", form=form, out=given, bootstrap=0)
    assert written.path == done / name
    assert written.path.read_text().startswith(start)


def test_a_format_that_is_none_names_the_nearest(done: Path) -> None:
    with pytest.raises(UserError, match=r"--format: no such format; found 'htm'.*did you mean 'html'\?"):
        report(done / "made_up.yaml", results=done / "results", form="htm")


def test_a_file_that_cannot_be_written_is_said(done: Path) -> None:
    (done / "a_file").write_text("")
    with pytest.raises(UserError, match="--out: cannot be written"):
        report(done / "made_up.yaml", results=done / "results", out=done / "a_file" / "x.html", bootstrap=0)


def test_without_a_finished_run_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run is finished"):
        report(suite(tmp_path), results=tmp_path / "results")
    found = command(tmp_path, "--results", tmp_path / "results")
    assert found.returncode == 2
    assert found.stderr.startswith("error: ")
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "results").exists()


def test_the_command_writes_and_says_where_without_torch(done: Path) -> None:
    found = command(done, "--out", done / "c.html", "--json")
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert (told["path"], told["done"], told["suite"]) == (str(done / "c.html"), 9, "made_up")
    check = (
        "import sys; from hugbench.cli import app; "
        f"app(['report', {str(done / 'made_up.yaml')!r}, '--results', {str(done / 'results')!r}], standalone_mode=False); "
        "sys.exit(int('torch' in sys.modules))"
    )
    alone = subprocess.run(
        [sys.executable, "-c", check],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert alone.returncode == 0, alone.stderr
    assert "report.html" in alone.stdout


def test_help_does_not_load_what_only_a_report_needs() -> None:
    check = "import sys, hugbench.cli; sys.exit(int(bool({'jinja2', 'numpy', 'hugbench.reports'} & set(sys.modules))))"
    found = subprocess.run([sys.executable, "-c", check], env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert found.returncode == 0


CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_renders_it_without_scrolling_sideways(done: Path, tmp_path: Path, width: int) -> None:
    from PIL import Image

    page = report(
        done / "made_up.yaml", results=done / "results", out=tmp_path / "page.html", bootstrap=0
    ).path
    # measured from outside, in a frame as wide as the screen: the page itself has no script
    measure = (
        "<script>addEventListener('load', () => { const f = document.querySelector('iframe'); "
        "const d = f.contentDocument, r = document.documentElement; "
        "r.dataset.wide = d.documentElement.scrollWidth; r.dataset.room = d.documentElement.clientWidth; "
        "r.dataset.drawn = [...d.querySelectorAll('svg[role=img]')]"
        ".filter(s => s.getBoundingClientRect().height > 50).length; })</script>"
    )
    framed = f'<iframe style="width:{width}px;height:2000px;border:0" srcdoc="{escape(page.read_text())}"></iframe>'
    outside = tmp_path / "outside.html"
    outside.write_text(f"<!doctype html><html><body>{framed}{measure}</body></html>")
    shot = tmp_path / "shot.png"
    options = [
        CHROMIUM,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},2000",
    ]
    dumped = subprocess.run(
        [*options, "--dump-dom", outside.as_uri()], capture_output=True, text=True, timeout=120
    )
    start = dumped.stdout[: dumped.stdout.index(">", dumped.stdout.index("<html"))]
    told = dict(part.split("=") for part in start.replace('"', "").split() if part.startswith("data-"))
    assert int(told["data-drawn"]) > 5
    assert int(told["data-room"]) == width
    assert int(told["data-wide"]) == width
    subprocess.run(
        [*options, f"--screenshot={shot}", page.as_uri()], capture_output=True, timeout=120, check=True
    )
    with Image.open(shot) as image:
        assert image.width >= width
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 50
