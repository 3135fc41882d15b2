"""Masks as run lengths: every dialect by its name, cells ↔ pictures, and files larger than memory."""

from pipeline.formats.rle.cell import Cell
from pipeline.formats.rle.cells import declared_dialect, known_dialect, read_cells
from pipeline.formats.rle.codec import decode, encode, read_text, read_texts, write_texts
from pipeline.formats.rle.dialects import DIALECTS, Dialect, dialect_named
from pipeline.formats.rle.entries import EntryReader
from pipeline.formats.rle.lookup import RleTable, rle_table
from pipeline.formats.rle.runs import Runs
from pipeline.formats.rle.volume import Entry, label_entries
from pipeline.formats.rle.writing import open_masks, write_entries, write_masks

__all__ = [
    "DIALECTS",
    "Cell",
    "Dialect",
    "Entry",
    "EntryReader",
    "RleTable",
    "Runs",
    "declared_dialect",
    "decode",
    "dialect_named",
    "encode",
    "known_dialect",
    "label_entries",
    "open_masks",
    "read_cells",
    "read_text",
    "read_texts",
    "rle_table",
    "write_entries",
    "write_masks",
    "write_texts",
]
