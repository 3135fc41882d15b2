"""No word becomes a path outside the folder that it is put into."""

from __future__ import annotations

import ast
import os
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.core.names import SCAN_ID, below, checked_name, is_part, within

ROOT = Path("/data/root")
#: Words that a file system acts on, among any others.
ODD = ["..", ".", "~", "a/../..", "/etc", "C:\\x"]
WORDS = st.text() | st.text("./\\:~ \0\nab", max_size=12) | st.sampled_from(ODD)


def inside(path: Path) -> bool:
    return os.path.commonpath([os.path.normpath(path), ROOT]) == str(ROOT)


@given(st.lists(WORDS, min_size=1, max_size=3))
@example(["..", "x"])
def test_no_word_leaves_the_folder(words: list[str]) -> None:
    try:
        path = below(ROOT, *words)
    except InputError:
        assert not all(map(is_part, words))
        return
    assert inside(path)
    assert len(path.parts) == len(ROOT.parts) + len(words)


@given(WORDS)
@example("a/../../b")
@example("//etc")
def test_no_relative_path_leaves_the_folder(text: str) -> None:
    try:
        path = within(ROOT, text)
    except InputError:
        return
    assert inside(path)
    assert "\0" not in str(path)


@given(WORDS)
def test_names_are_parts(word: str) -> None:
    for accepted in (SCAN_ID.fullmatch(word) is not None, _is_name(word)):
        if accepted:
            assert is_part(word)


def _is_name(word: str) -> bool:
    try:
        return checked_name(word) == word
    except InputError:
        return False


@pytest.mark.parametrize("word", ["left lung", "Leber", "心", "lung (upper)", "a.b", "T1+C"])
def test_organs_in_any_language(word: str) -> None:
    assert below(ROOT, word) == ROOT / word


def test_a_path_of_a_manifest_may_go_down() -> None:
    assert within(ROOT, "./images/case 7.nii.gz") == ROOT / "images" / "case 7.nii.gz"
    with pytest.raises(InputError, match="backslash"):
        within(ROOT, "images\\case7.nii.gz")


PACKAGE = Path(__file__).parents[2] / "pipeline"
ROOMS = ("formats", "inference", "export", "predict", "ingest", "preprocess", "train/data.py", "core")
#: What words that come out of files, manifests and callers are called in these rooms.
OUTSIDE = {"name", "organ", "scan_id", "word", "label", "title", "text", "study", "model", "case", "folder_name"}


def _is_word(node: ast.expr) -> bool:
    """Whether an expression may be a word from outside: such a name, an entry of a table, or text made of one."""
    match node:
        case ast.JoinedStr():
            placed = [part for part in node.values if isinstance(part, ast.FormattedValue)]
            # A number with its digits is no word.
            return any(_is_word(part.value) for part in placed if part.format_spec is None)
        case ast.Name():
            return node.id in OUTSIDE
        case ast.Attribute():
            # The last part of a path is one part, whatever it is.
            return node.attr in OUTSIDE - {"name"}
        case ast.Subscript():
            return isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)
    return False


def _around(path: Path) -> Iterator[str]:
    """Places in a file where a word becomes a path without :mod:`pipeline.core.names`."""
    for node in ast.walk(ast.parse(path.read_text())):
        where = f"{path.relative_to(PACKAGE)}: {ast.unparse(node)}" if isinstance(node, ast.expr) else ""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and _is_word(node.right):
            yield where
        elif isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if called in {"open", "Path", "joinpath", "with_name"} and any(map(_is_word, node.args)):
                yield where


#: Given by the person at the command line, whose own files these are; and what looks at a path without opening it.
GIVEN = {
    # The other half of a pair, beside the half that was given.
    "formats/nifti/reader.py: path.with_name(name)",
    "predict/model.py: Path(model)",
    "ingest/one.py: Path(name)",
    "ingest/reasons.py: Path(name)",
    # The names of studies are checked where these are called.
    "core/manifest.py: (root or Path()) / 'data_manifests' / f'{name}.csv'",
    "core/study.py: (root or Path()) / 'configs' / f'{name}.yaml'",
    "core/study.py: shipped() / 'configs' / own.name",
}


@pytest.mark.parametrize("room", ROOMS)
def test_no_word_becomes_a_path_another_way(room: str) -> None:
    place = PACKAGE / room
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    assert [found for file in files for found in _around(file) if found not in GIVEN] == []


def test_the_check_finds_such_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "a.py").write_text("x = folder / f'{organ}.png'\ny = open(row['image'])\nz = total / count\n")
    assert len(list(_around(tmp_path / "a.py"))) == 2


@pytest.mark.parametrize(("there", "typed"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_a_path_is_found_in_either_form_of_its_accents(tmp_path: Path, there: Any, typed: Any) -> None:
    folder = tmp_path / unicodedata.normalize(there, "M\u00fcller")
    folder.mkdir()
    (folder / unicodedata.normalize(there, "Sch\u00e4del.nii")).touch()
    text = unicodedata.normalize(typed, "M\u00fcller/Sch\u00e4del.nii")
    assert within(tmp_path, text).is_file()
    assert not within(tmp_path, unicodedata.normalize(typed, "M\u00fcller/\u00e4.nii")).exists()
