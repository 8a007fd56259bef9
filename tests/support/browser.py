"""Pages as headless Chromium sees them."""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PROBE = """<script>addEventListener("load", () => {
  const images = [...document.images], plots = [...document.querySelectorAll("svg")];
  document.body.dataset.images = images.filter(i => i.complete && i.naturalWidth > 1).length + "/" + images.length;
  document.body.dataset.plots = plots.filter(p => p.getBoundingClientRect().width > 50).length + "/" + plots.length;
  document.body.dataset.wide = document.documentElement.scrollWidth > innerWidth ? "yes" : "no";
});</script>"""


@dataclass(frozen=True)
class Seen:
    """What a page turned out to be."""

    console: list[str]
    """Everything that the browser wrote to the page's console."""
    images: str
    """Loaded images of all, as ``3/3``."""
    plots: str
    """Visible SVG plots of all."""
    wide: bool
    """Whether it has to be scrolled sideways."""


def look_at(page: Path) -> Seen:
    """Open a copy of a page that counts what it shows."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser is installed; one of: {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "page.html"
        copy.write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>"), encoding="utf-8")
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
        ]
        run = subprocess.run(
            [program, *options, f"--user-data-dir={folder}/profile", "--window-size=1280,900",
             "--virtual-time-budget=10000", "--dump-dom", copy.as_uri()],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
    found = dict(re.findall(r'data-(images|plots|wide)="([^"]*)"', run.stdout))
    console = [line for line in run.stderr.splitlines() if ":CONSOLE" in line]
    return Seen(console, found["images"], found["plots"], found["wide"] == "yes")
