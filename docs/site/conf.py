"""Settings of Sphinx for `make docs`, the documentation as a web site.

Its pages are the Markdown files that a checkout has anyway, README.md the first of them. The reference is made from the
docstrings, by the files in `api/`.
"""

from importlib.metadata import version as version_of
from pathlib import Path

from docutils.nodes import Element, SkipNode
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

project = "tapehead"
author = "The tapehead developers"
copyright = "The tapehead developers"
version = release = version_of("tapehead")

CONTENTS = {
    "Use": [
        "docs/index",
        "docs/layers",
        "examples/README",
        "docs/computing",
        "docs/command-line",
        "docs/studies",
        "docs/pretrained",
    ],
    "Models": ["docs/models/ntm", "docs/models/mann", "docs/models/lstm"],
    "Tasks": [
        "docs/tasks/copy",
        "docs/tasks/repeat_copy",
        "docs/tasks/associative_recall",
        "docs/tasks/ngrams",
        "docs/tasks/priority_sort",
        "docs/tasks/omniglot",
        "docs/tasks/your-own",
    ],
    "Reference": [
        "docs/site/api/layers",
        "docs/site/api/states",
        "docs/site/api/tasks",
        "docs/site/api/optimisers",
        "docs/site/api/plots",
        "docs/site/api/backends",
        "docs/site/api/errors",
    ],
    "Training and results": [
        "docs/training",
        "docs/training-tasks",
        "docs/results/copy",
        "docs/results/repeat_copy",
        "docs/results/associative_recall",
        "docs/results/ngrams",
        "docs/results/priority_sort",
        "docs/results/omniglot",
        "docs/performance",
    ],
    "For contributors": [
        "CONTRIBUTING",
        "docs/decisions",
        "src/tapehead/ops/ntm/README",
        "src/tapehead/ops/mann/README",
        "benchmarks/README",
        "CHANGELOG",
    ],
}
"""The pages of each part of the sidebar. One that is in none is an error of the build."""

root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "docs/site/api/*.rst", "benchmarks/*.md", "examples/*.md", "src/**.md"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 4

default_role = "literal"
highlight_language = "none"
autodoc_default_options = {"members": True, "exclude-members": "extra_repr"}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Shape", "params_style"), "Differs from the paper"]
add_module_names = False
maximum_signature_line_length = 88
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"tapehead {version}"
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"


def add_contents(app: Sphinx, name: str, source: list[str]) -> None:
    """Give the first page the table of contents, which README.md has no use for elsewhere."""
    if name == root_doc:
        for caption, pages in CONTENTS.items():
            source[0] += "\n```{toctree}\n:hidden:\n:caption: " + "\n".join([caption, "", *pages]) + "\n```\n"


def add_start(app: Sphinx, exception: Exception | None) -> None:
    """Lead from the site's folder to its first page."""
    if exception is None and app.builder.format == "html":
        page = f'<!doctype html><title>tapehead</title><meta http-equiv="refresh" content="0; url={root_doc}.html">\n'
        (Path(app.outdir) / "index.html").write_text(page, "utf-8")


def without_type(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Keep "(B, N): which ..." of an attribute as it is: before a colon Napoleon would see a type."""
    if what in ("attribute", "property", "data") and lines:
        lines[0] = lines[0].replace(": ", " \N{EN DASH} ", 1)


def write_formula(translator: HTML5Translator, node: Element) -> None:
    """As MathML, which browsers show without a script from elsewhere."""
    translator.body.append(tex2mathml(node.astext(), as_block=node.tagname == "math_block"))
    raise SkipNode


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", without_type, priority=400)  # before Napoleon's
    app.connect("build-finished", add_start)
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
