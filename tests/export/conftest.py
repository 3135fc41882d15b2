"""Studies with predictions, made without any network: what the champion found is the phantom's truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.files import read_table, write_table
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.formats.store import write_labels
from pipeline.inference.champion import Champion, Member
from tests.predict.studies import ORGANS, make_study, phantom, write_study

Made = tuple[Study, StudyPaths]
ALL_FORMS = ["nifti", "rle", "dicom_seg", "overlays", "spotlight", "surfaces", "coco", "nnunet"]


@pytest.fixture
def predicted(tmp_path: Path) -> Callable[..., Made]:
    """Make a study as it is after ``predict`` with the champion."""

    def make(flat: bool = False, formats: list[str] | None = None, **changes: Any) -> Made:
        values: dict[str, Any] = {"export": {"formats": formats or ALL_FORMS}, "overlapping": flat}
        if flat:
            values["modality"] = "xray"
        study = make_study(**values | changes)
        paths = write_study(tmp_path, study, flat=flat)
        out = paths.predictions("test", "champion")
        rows = []
        for row in read_table(paths.scans_csv):
            number = int(row["scan_id"][1:])
            if number >= 4:
                scan, masks = phantom(number, flat)
                labels = LabelMap.from_masks(masks, scan.affine, ORGANS, overlapping=study.overlapping)
                write_labels(out / f"{row['scan_id']}.nii.gz", labels)
                rows.append({"scan_id": row["scan_id"], "status": "ok"})
        write_table(out / "predictions.csv", rows, ("scan_id", "status"))
        Champion(
            name="unet", study="small", modality=study.modality, organs=list(ORGANS), overlapping=study.overlapping,
            colors=study.colors(), members=[Member(model="unet", fold=0, folder="members/unet-fold0")],
        ).write(paths.champion_yaml)  # fmt: skip
        return study, paths

    return make
