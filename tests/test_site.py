"""The documentation as a web site is built without a warning, with every page and every public name."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import tapehead
from tapehead import errors, plots, states, tasks

ROOT = Path(__file__).parents[1]
PUBLIC = {name for module in (tapehead, states, tasks, plots, errors) for name in module.__all__}
NOT_DOCUMENTED = {"__version__", "did_you_mean", "map_tensors"}


@pytest.mark.slow_start
def test_the_site_is_whole(tmp_path: Path):
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-W", "--keep-going", "-c", "docs/site", "-b", "html"]
    # Without the pages of the sources and what the theme makes around each page, which take half of the time.
    command += ["-D", "extensions=myst_parser,sphinx.ext.autodoc,sphinx.ext.napoleon", "-D", "html_theme=basic"]
    done = subprocess.run([*command, ".", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'url=README.html"' in (tmp_path / "index.html").read_text("utf-8")
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        assert (tmp_path / page.relative_to(ROOT).with_suffix(".html")).is_file(), page

    reference = "".join(page.read_text("utf-8") for page in (tmp_path / "docs/site/api").glob("*.html"))
    documented = {name.rpartition(".")[2] for name in re.findall(r'id="(tapehead[\w.]+)"', reference)}
    assert PUBLIC - documented == NOT_DOCUMENTED
    assert "Alias for field" not in reference  # a field without a docstring
    assert "<math" in reference  # a formula that no script has to set


def test_the_theme_is_there():
    settings = (ROOT / "docs" / "site" / "conf.py").read_text("utf-8")
    name = re.search(r'^html_theme = "(\w+)"$', settings, re.MULTILINE)[1]
    (theme,) = entry_points(group="sphinx.html_themes", name=name)
    assert callable(theme.load().setup)
