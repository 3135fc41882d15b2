"""The table of licences is that of what is installed, and says a word on what is copyleft."""

from __future__ import annotations

from pathlib import Path

from tests.front.licences import COPYLEFT, table

PAGE = Path(__file__).parents[2] / "docs" / "licences.md"


def test_the_table_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == table(), "run: python -m tests.front.licences > docs/licences.md"


def test_every_licence_is_said_and_copyleft_has_a_word_on_it() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table().splitlines() if line.startswith("| ")]
    rows = [row for row in rows if row[0] != "package"]
    assert len(rows) > 100
    assert [name for name, licence, _ in rows if licence == "not said"] == []
    assert [name for name, licence, note in rows if COPYLEFT.search(licence) and not note] == []
