"""Pages whose measured parts are written anew, while all else on them stays as people wrote it.

What is measured stands between `<!-- name -->` and `<!-- end of name -->`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["PAGE", "replaced", "table"]

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"


def replaced(page: Path, parts: Mapping[str, str]) -> str:
    """The text of a page with these parts of it replaced.

    Raises:
        ValueError: the page lacks a part.
    """
    text = page.read_text("utf-8")
    for name, part in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        found = re.split(f"{begin}.*?{end}", text, flags=re.DOTALL)
        if len(found) != 2:
            raise ValueError(
                f"{page.name}: expected one {begin} and {end} after it, got {len(found) - 1}. Put them in."
            )
        text = f"{begin}\n\n{part}\n\n{end}".join(found)
    return text


def table(lines: list[list[str]], left: int = 1) -> str:
    """A table of Markdown, the first line of it the head; all columns but the first `left` are numbers."""
    head, *rest = lines
    rule = ["---" if column < left else "---:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *rest])
