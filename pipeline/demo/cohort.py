"""Who is in a demo study: patients, visits, sites and parts of the split, drawn from the seed alone."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.files import sha256_of
from pipeline.core.labels import LabelMap
from pipeline.demo.write_dicom import Visit

SITES = ("north", "harbour", "valley")

#: A fault that is planted in a scan.
TRUNCATED, MASK_SIZE, MASK_SHIFTED, MISSING_SLICE = "truncated", "mask size", "mask shifted", "missing slice"


@dataclass
class DemoScan:
    """One row of the manifest in the making.

    Attributes:
        number: Which scan of the study, from 0.
        patient: Which patient, from 0.
        visit: Which scan of the patient, from 0.
        study: Name of the study.
        seed: Seed of the study.
        fault: What is wrong with the scan; empty for a good one.
        cells: The row.
        labels: Label map to be written into the run-length table of the study, where it is to be.
    """

    number: int
    patient: int
    visit: int
    study: str
    seed: int
    fault: str = ""
    cells: dict[str, str] = field(default_factory=dict)
    labels: LabelMap | None = None

    @property
    def scan_id(self) -> str:
        """Name of the scan."""
        return f"{'dx' if self.study == 'demo_xray' else 'mr'}{self.number + 1:03d}"

    @property
    def site(self) -> str:
        """Where the scan was taken."""
        return SITES[(self.patient + self.seed) % len(SITES)]

    def identity(self) -> Visit:
        """Whom and when the scan is of."""
        return Visit(self.study, self.seed, self.patient, self.visit, self.site)

    def person(self) -> np.random.Generator:
        """Draws what belongs to the patient: the same for all visits."""
        return np.random.default_rng([zlib.crc32(self.study.encode()), self.seed, self.patient])

    def draw(self) -> np.random.Generator:
        """Draws what belongs to this scan."""
        return np.random.default_rng([zlib.crc32(self.study.encode()), self.seed, self.patient, self.visit + 1])

    def place(self, root: Path, image: Path, mask: Path | None = None, **extra: Any) -> None:
        """Fill in the row: paths relative to ``root``, and checksums of what lies there."""
        self.cells["image"] = image.relative_to(root).as_posix()
        self.cells["image_sha256"] = sha256_of(image)
        if mask is not None:
            self.cells["mask"] = mask.relative_to(root).as_posix()
            self.cells["mask_sha256"] = sha256_of(mask)
        self.cells.update({name: str(value) for name, value in extra.items()})


def cohort(study: str, seed: int, count: int, faults: tuple[str, str]) -> list[DemoScan]:
    """List the scans of a study: every fifth is a second visit; two faulty ones follow.

    About a fifth of the patients are test patients; both visits of a patient are on one side.
    """
    scans = []
    for number in range(count):
        second = number % 5 == 4
        scans.append(DemoScan(number, number - (number + 1) // 5, int(second), study, seed))
    last = scans[-1].patient
    scans += [DemoScan(count + i, last + 1 + i, 0, study, seed, fault) for i, fault in enumerate(faults)]
    for scan in scans:
        test = not scan.fault and scan.patient % (5 if study == "demo_xray" else 4) == 1
        scan.cells = {
            "scan_id": scan.scan_id,
            "patient_id": f"p{scan.patient + 1:03d}",
            "split": "test" if test else "development",
            "site": scan.site,
        }
    return scans
