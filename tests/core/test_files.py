"""Writes are whole or absent, tables survive spreadsheets, locks end with their process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.core import files
from pipeline.core.errors import InputError
from pipeline.core.journal import Journal, read_journal


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.whole_file(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_killed_writers_leave_whole_files(tmp_path: Path) -> None:
    code = (
        "import sys; from pipeline.core.files import write_text\n"
        "i = 0\n"
        "while True:\n"
        "    write_text(sys.argv[1], str(i % 10) * 300000); i += 1\n"
    )
    path = tmp_path / "a.txt"
    for wait in (0.01, 0.03, 0.05):
        process = subprocess.Popen([sys.executable, "-c", code, str(path)])
        deadline = time.monotonic() + 20
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        text = path.read_text()
        assert len(text) == 300000
        assert len(set(text)) == 1
        path.unlink()
        files.sweep_parts(tmp_path)
        assert list(tmp_path.iterdir()) == [], "what the killed writer left is swept"


def test_a_living_writers_part_is_not_swept(tmp_path: Path) -> None:
    with files.whole_file(tmp_path / "a.txt") as part:
        part.write_text("half")
        assert files.sweep_parts(tmp_path) == 0
        assert part.exists()
    assert (tmp_path / "a.txt").read_text() == "half"


def test_write_if_changed_keeps_the_time_of_an_unchanged_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    assert files.write_if_changed(path, "x")
    os.utime(path, (1, 1))
    assert not files.write_if_changed(path, "x")
    assert path.stat().st_mtime == 1
    assert files.write_if_changed(path, "y")


def test_tables_from_spreadsheets(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffscan_id, patient_id \r\na,ü\r\n".encode())
    assert files.read_table(path) == [{"scan_id": "a", "patient_id": "ü"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_dialect_of_a_table_gives_the_same_cells(tmp_path: Path, encoding: str, delimiter: str, end: str) -> None:
    rows = [["scan_id", "organ"], ["a", "S\u00e4ge"], ["b", '"x, y; z"'], ["c", ""]]
    text = end.join(delimiter.join(row) for row in rows) + end
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    notes: list[str] = []
    found = files.read_table(tmp_path / "t.csv", notes.append)
    assert found == [
        {"scan_id": "a", "organ": "S\u00e4ge"},
        {"scan_id": "b", "organ": "x, y; z"},
        {"scan_id": "c", "organ": ""},
    ]
    assert [note.endswith("was read as Windows-1252") for note in notes] == [True] * (encoding == "cp1252")


def test_accents_in_two_signs_are_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\nSa\u0308ge\n", encoding="utf-8")
    assert files.read_table(tmp_path / "t.csv") == [{"a": "S\u00e4ge"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a,b\n1,2,3\n", "more cells"), (b"a,a\n1,2\n", "two columns"), (b"\xff\xfe\x00", "UTF-8"), (b"", "empty")],
)
def test_bad_tables_say_what_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        files.read_table(tmp_path / "t.csv")


def test_sha256_of_a_folder_depends_on_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    first = files.sha256_of(tmp_path / "a")
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    second = files.sha256_of(tmp_path / "a")
    (tmp_path / "a" / "y").write_text("2")
    third = files.sha256_of(tmp_path / "a")
    assert len({first, second, third}) == 3
    (tmp_path / "a" / ".snakemake_timestamp").touch()
    assert files.sha256_of(tmp_path / "a") == third, "what the workflow leaves in a folder is no part of it"


def test_errors_cross_process_boundaries() -> None:
    import pickle

    error = InputError("is broken", where="scan 7", remedy="Mend it.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "scan 7: is broken. Mend it."


def test_a_torn_journal_line_is_left_out_and_written_over(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.write("step", step=1, loss=0.5)
    with open(path, "a") as handle:
        handle.write('{"time": 1, "kind": "st')
    assert [event["step"] for event in read_journal(path)] == [1]
    with Journal(path) as journal:
        journal.write("step", step=2)
    assert [event["step"] for event in read_journal(path)] == [1, 2]
    assert all(json.loads(line) for line in path.read_text().splitlines())
