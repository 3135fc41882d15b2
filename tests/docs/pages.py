"""The pages as text: their fenced blocks, and what stands in their tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- (runs|file: (?P<file>\S+)) -->\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        kind: The word after the fence.
        text: What it holds.
        runs: Whether the page promises that it runs in a folder where the page's earlier blocks ran.
        file: The file that the reader is to write it into.
    """

    kind: str
    text: str
    runs: bool
    file: str


def pages() -> list[Path]:
    """Every page, and the README and CONTRIBUTING, which give commands too."""
    return [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text, found = page.read_text(), []
    for match in FENCE.finditer(text):
        mark = MARK.search(text[: match.start()])
        file = (mark["file"] or "") if mark else ""
        found.append(Block(match["kind"], match["text"], bool(mark) and not file, file))
    return found


def commands(text: str) -> list[str]:
    """The command lines of a shell block; one that ends in a backslash goes on."""
    joined = text.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def column(page: Path, head: str, wanted: str = r"[\w.]+") -> list[str]:
    """What stands in backticks in the first cells of those tables of a page whose first head is ``head``."""
    found, inside = [], False
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[0] == head:
            inside = True
        elif inside:
            found += re.findall(rf"`({wanted})`", cells[0]) or ([cells[0]] if re.fullmatch(wanted, cells[0]) else [])
    return found
