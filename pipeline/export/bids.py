"""The form ``bids``: predicted organs as a BIDS derivative, ``derivatives/organseg``, read back.

A scan whose name has BIDS's entities keeps them, so that the folder can be laid beside the data set that it came from.
Other scans are of persons who are numbered: names of patients go nowhere. Exclusive organs are one ``_dseg`` with
``desc-organseg_dseg.tsv`` for its values; overlapping ones a ``_mask`` each.

Source: BIDS 1.9, derivatives of imaging (bids-specification.readthedocs.io/en/v1.9.0/derivatives/imaging.html).
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline import __version__
from pipeline.core.errors import InputError
from pipeline.core.files import write_if_changed, write_json
from pipeline.core.labels import LabelMap
from pipeline.core.names import below
from pipeline.core.scan import Scan
from pipeline.core.study import Study
from pipeline.export.checks import Check, Tolerance, compare, expected
from pipeline.export.readers import read_bids_organs
from pipeline.formats.nifti.labels import stored_grid
from pipeline.formats.nifti.writer import write_nifti

FORM = "bids"
#: Where the derivative lies in the folder of the form.
PLACE = ("derivatives", "organseg")
_ENTITY = re.compile(r"([a-z]+)-([A-Za-z0-9+]+)")
#: What a scan's own name says and its masks' names say again.
_KEPT = ("sub", "ses", "task", "acq", "ce", "rec", "dir", "run", "echo", "part", "chunk", "space", "res")


def bids_names(patients: Mapping[str, str]) -> dict[str, str]:
    """What the files of each scan begin with, such as ``sub-01_ses-2`` or ``sub-0001_acq-case7``.

    Args:
        patients: Scan → patient.

    Raises:
        InputError: Two scans would have one name.
    """
    numbers = {patient: index for index, patient in enumerate(dict.fromkeys(patients.values()), 1)}
    names = {scan: _from_entities(scan) or f"sub-{numbers[p]:04d}_acq-{_label(scan)}" for scan, p in patients.items()}
    counts = Counter(names.values())
    for scan, name in names.items():
        # T1w and T2w of one session have the same entities.
        if (
            counts[name] > 1
            and _from_entities(scan)
            and "_space-" not in name
            and (suffix := scan.rsplit("_", 1)[-1]).isalnum()
        ):
            names[scan] = f"{name}_space-{suffix}"
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        both = [scan for scan, name in names.items() if name == twice[0]]
        raise InputError(
            f"{both[0]} and {both[1]} would both be called {twice[0]} in a BIDS tree",
            remedy="Give them scan ids that differ in letters and digits.",
        )
    return names


def _from_entities(scan_id: str) -> str:
    found = (_ENTITY.fullmatch(word) for word in scan_id.split("_"))
    entities = {match[1]: match[2] for match in found if match}
    if "sub" not in entities:
        return ""
    return "_".join(f"{key}-{entities[key]}" for key in _KEPT if key in entities)


def _label(text: str) -> str:
    """Letters and digits: all that a value may be made of."""
    return re.sub(r"[^A-Za-z0-9]", "", text) or "scan"


def write_bids(
    study: Study, model: str, out: Path, scan_id: str, name: str, scan: Scan, labels: LabelMap
) -> list[Check]:
    """Write one scan's organs, and read them back; files that differ are moved to ``failed``.

    Args:
        study: The study, for its organs' values and colours.
        model: Name of the model that found the organs.
        out: Folder of the exports.
        scan_id: The scan.
        name: What its files begin with, from :func:`bids_names`.
        scan: The scan, for the grid of its file.
        labels: Its organs, on the scan's grid.

    Raises:
        InputError: Two organs have the same letters and digits in their names.
    """
    root = below(out, FORM, *PLACE)
    _describe(study, model, root)
    entities = dict(word.split("-", 1) for word in name.split("_"))
    folders = [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities]
    place = below(root, *folders, "anat")
    affine = stored_grid(scan).affine
    if labels.overlapping:
        short = _short(labels.organs)
        files = []
        for organ in labels.organs:
            files.append(below(place, f"{name}_label-{short[organ]}_desc-organseg_mask.nii.gz"))
            write_nifti(files[-1], scan.to_stored(labels.mask(organ).astype("uint8")), affine, scan.unit)
    else:
        values = study.values()
        data = np.zeros(labels.data.shape, np.int32)
        for organ in labels.organs:
            data[labels.mask(organ)] = values[organ]
        files = [below(place, f"{name}_desc-organseg_dseg.nii.gz")]
        kind = "uint8" if max(values.values()) < 256 else "uint16" if max(values.values()) < 65536 else "int32"
        write_nifti(files[0], scan.to_stored(data.astype(kind)), affine, scan.unit)
    for file in files:
        about = {"Manual": False, "SpatialReference": "orig", "Description": f"Organs found by {model} in {scan_id}"}
        write_json(below(place, file.name.replace(".nii.gz", ".json")), about)
    rows = compare(scan_id, FORM, expected(labels), read_bids_organs(root, files), labels, Tolerance())
    if any(row["status"] == "failed" for row in rows):
        for file in files:
            aside = out / "failed" / file.relative_to(out)
            aside.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(file, aside)
    return rows


def _short(organs: tuple[str, ...]) -> dict[str, str]:
    short = {organ: _label(organ) for organ in organs}
    if len(set(short.values())) < len(short):
        raise InputError("organs' names that differ in signs alone cannot be told apart in a BIDS tree")
    return short


def _describe(study: Study, model: str, root: Path) -> None:
    """Write what belongs to the whole tree, if it is not there yet."""
    about = {
        "Name": f"organseg: {study.title or model}",
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "organseg", "Version": __version__, "Description": f"Model {model}"}],
    }
    write_if_changed(root / "dataset_description.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    table = root / "desc-organseg_dseg.tsv"
    if table.is_file():
        return
    colors, values, short = study.colors(), study.values(), {organ: _label(organ) for organ in study.organs}
    lines = ["index\tname\tabbreviation\tcolor"]
    lines += [f"{values[organ]}\t{organ}\t{short[organ]}\t{colors[organ]}" for organ in study.organs]
    write_if_changed(table, "\n".join(lines) + "\n")
