"""Masks as run lengths: every dialect by its name, cells ↔ pictures, and files larger than memory."""

from pipeline.formats.rle.cell import Cell
from pipeline.formats.rle.cells import declared_dialect, read_cells
from pipeline.formats.rle.codec import decode, encode, read_cell, write_cell
from pipeline.formats.rle.dialects import DIALECTS, Dialect, dialect_named
from pipeline.formats.rle.runs import Runs
from pipeline.formats.rle.table import RleTable, known_dialect, read_mask
from pipeline.formats.rle.volume import Entry, checksum, label_entries
from pipeline.formats.rle.writing import open_masks, write_entries, write_masks

__all__ = [
    "DIALECTS",
    "Cell",
    "Dialect",
    "Entry",
    "RleTable",
    "Runs",
    "checksum",
    "declared_dialect",
    "decode",
    "dialect_named",
    "encode",
    "known_dialect",
    "label_entries",
    "open_masks",
    "read_cell",
    "read_cells",
    "read_mask",
    "write_cell",
    "write_entries",
    "write_masks",
]
