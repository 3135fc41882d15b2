"""A drafted manifest, and the summary that a person checks in one look."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Choices:
    """What a person decides where a folder can be read in two ways.

    Attributes:
        images: Take only scans whose path has this in it, or fits this pattern.
        masks: The same for masks.
        each: Take every scan for a patient of its own.
    """

    images: str = ""
    masks: str = ""
    each: bool = False


@dataclass(frozen=True)
class Draft:
    """A drafted manifest.

    Attributes:
        kind: What the folder was taken for.
        rows: Cells of the manifest; paths are relative to the folder.
        notes: What was assumed, in sentences.
        left_out: Reason → paths that are in no row.
    """

    kind: str
    rows: list[dict[str, str]]
    notes: list[str] = field(default_factory=list)
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def summary(self) -> list[str]:
        """Scans, patients, masks of each organ, and what was left out, a line each."""
        patients = len({row["patient_id"] for row in self.rows})
        channels = max(row["image"].count(";") + 1 for row in self.rows)
        each = f" of {channels} channels" if channels > 1 else ""
        lines = [f"{counted(len(self.rows), 'scan')}{each}, {counted(patients, 'patient')}"]
        masks = Counter(c for row in self.rows for c, cell in row.items() if is_mask(c) and cell)
        if masks:
            said = (f"{'all organs in one file' if c == 'mask' else c[5:]} {n}" for c, n in sorted(masks.items()))
            lines.append(f"masks: {', '.join(said)}")
        if without := sum(not any(is_mask(c) and cell for c, cell in row.items()) for row in self.rows):
            lines.append(f"{counted(without, 'scan has', 'scans have')} no mask")
        for reason, paths in self.left_out.items():
            if paths:
                lines.append(f"left out: {counted(len(paths), 'file')} ({reason}): {_some(paths)}")
        return lines


def is_mask(column: str) -> bool:
    """Whether a column names mask files."""
    return column == "mask" or (column.startswith("mask_") and column != "mask_sha256")


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its word."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def _some(paths: Sequence[str]) -> str:
    """A few paths; of files of one folder the folder."""
    folders = {str(PurePosixPath(path).parent) for path in paths}
    if len(paths) > 3 and len(folders) == 1 and folders != {"."}:
        return f"{folders.pop()}/"
    return ", ".join(paths[:3]) + (", …" if len(paths) > 3 else "")


def safe_id(text: str) -> str:
    """A name that may name files."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")[:100] or "scan"


def row(scan_id: str, patient: str, image: str, masks: Mapping[str, str] | None = None) -> dict[str, str]:
    """Cells of a row; ``masks`` is organ → path, with ``""`` for one file of all organs."""
    cells = {"scan_id": safe_id(scan_id), "patient_id": safe_id(patient), "image": image, "mask": "", "split": ""}
    for organ, path in (masks or {}).items():
        cells[f"mask_{organ}" if organ else "mask"] = path
    return cells


def unique(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Number scan ids that occur more than once."""
    taken = Counter(row["scan_id"] for row in rows)
    seen: dict[str, int] = defaultdict(int)
    result = []
    for cells in rows:
        name = cells["scan_id"]
        if taken[name] > 1:
            seen[name] += 1
            while seen[name] > 1 and f"{name[:95]}-{seen[name]}" in taken:
                seen[name] += 1
        number = seen[name]
        result.append(cells if number <= 1 else {**cells, "scan_id": f"{name[:95]}-{number}"})
    return result


def tidy(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Rows with unique scan ids; without the column of all organs where there is a file an organ."""
    single = any(column.startswith("mask_") for cells in rows for column in cells)
    if single and not any(cells["mask"] for cells in rows):
        rows = [{column: cell for column, cell in cells.items() if column != "mask"} for cells in rows]
    return unique(rows)
