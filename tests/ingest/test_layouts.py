"""Folders as public data sets lay them out: drafted rightly, or refused; never wrong in silence."""

from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.ingest.drafts import Draft, draft
from tests.ingest.layouts import LAYOUTS
from tests.ingest.layouts.tree import Layout


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_drafted_as_it_is_meant(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    layout.make(tmp_path)
    if layout.refused:
        with pytest.raises(InputError, match=layout.refused):
            draft(tmp_path)
        return
    agree(draft(tmp_path), layout)


def agree(found: Draft, layout: Layout) -> None:
    """Scans, masks, organs and patients are those that are expected."""
    masks, patients = layout.expected()
    drafted = {
        row["image"]: {c: cell for c, cell in row.items() if c.startswith("mask") and cell} for row in found.rows
    }
    assert drafted == masks, found
    groups: dict[str, set[str]] = {}
    for row in found.rows:
        groups.setdefault(row["patient_id"], set()).add(row["image"])
    meant: dict[str, set[str]] = {}
    for image, patient in patients.items():
        meant.setdefault(patient, set()).add(image)
    assert sorted(map(sorted, groups.values())) == sorted(map(sorted, meant.values())), found
    ids = [row["scan_id"] for row in found.rows]
    assert len(set(ids)) == len(ids)
