"""What is found in a path: scans to read, and what is passed over, each with its reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.scan import Scan

#: Codes of what is passed over in a folder without being a failure.
PASSED_OVER = {"not_an_image", "no_image", "not_a_scan", "copy"}
#: Kind of a file that could not even be opened.
UNOPENED = "unopened file"


@dataclass(frozen=True)
class Found:
    """Something found in a path: a scan to read, or an object passed over.

    Attributes:
        source: First file of it. It may identify a patient: for the terminal only.
        kind: What it is, in words that name nobody.
        files: How many files it takes.
        read: Reads the scan in the file's axis order; ``None`` for what is passed over.
        reason: Why it is passed over.
        code: Short name of the reason.
    """

    source: Path
    kind: str
    files: int = 1
    read: Callable[[], Scan] | None = None
    reason: str = ""
    code: str = ""
