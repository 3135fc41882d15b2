"""Splitting lines gives what the csv module gives, whatever stands in them."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.formats.rle.records import delimiter_of, join, read_records, split

texts = st.text(alphabet='ab,;" \r\nä1', max_size=12)


def reference(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@given(rows=st.lists(st.lists(texts, min_size=1, max_size=5), min_size=1, max_size=6), quoting=st.sampled_from([0, 1]))
@settings(max_examples=150, deadline=None)
def test_written_tables_are_read_as_by_the_csv_module(rows: list[list[str]], quoting: int) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=quoting).writerows(rows)
    text = buffer.getvalue()
    records = list(read_records("x.csv", io.BytesIO(text.encode()), ","))
    assert [cells for *_, cells in records] == reference(text) == rows
    assert [number for number, *_ in records] == list(range(1, len(records) + 1))
    for _, offset, length, cells in records:
        assert reference(text.encode()[offset : offset + length].decode()) == [cells]


@given(text=st.text(alphabet='ab,"  1', max_size=25))
@settings(max_examples=300, deadline=None)
def test_lines_with_quotes_anywhere(text: str) -> None:
    cells = split(text.encode(), ",")
    if cells is not None:
        assert [cells] == (reference(text) or [[]])


@pytest.mark.parametrize("line", ['1,"2,3",4', '"1,2"', '"1","2"', '1,"2"', '"1",2', '"a","","b"', '"1,2",,"3,4",5,6'])
def test_ordinary_quotes_need_no_csv_module(line: str) -> None:
    assert [split(line.encode() + b"\r\n", ",")] == reference(line)


@given(rows=st.lists(st.lists(texts, min_size=1, max_size=5), min_size=1, max_size=6))
@settings(max_examples=120, deadline=None)
def test_joined_rows_are_read_as_they_were(rows: list[list[str]]) -> None:
    assert reference(join(rows)) == rows


def test_values_that_are_no_text() -> None:
    assert join([[None, 1, 2.5, "x"], [None, "1 2"]]) == ",1,2.5,x\n,1 2\n"


@pytest.mark.parametrize(
    ("data", "where", "words"),
    [
        (b'a,b\n1,"2\n3', "row 2", "ends inside quotes"),
        (b"a,b\n1,\xff\n", "row 2", "is not readable as a table"),
    ],
)
def test_what_is_no_table(data: bytes, where: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        list(read_records("x.csv", io.BytesIO(data), ","))
    assert str(caught.value.where).endswith(where)


def test_a_byte_order_mark_and_the_delimiter_are_found() -> None:
    data = "\ufeffid;rle\nä;1 2\n".encode()
    delimiter = delimiter_of(data.splitlines()[0])
    records = list(read_records("x.csv", io.BytesIO(data), delimiter))
    assert records == [(1, 0, 10, ["id", "rle"]), (2, 10, 7, ["ä", "1 2"])]
