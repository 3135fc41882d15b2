"""SNOMED CT codes of common organs, to and from DICOM objects, by pydicom's dictionary; a study's own codes win."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.core.study import Organ

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: Organs, without their side, that are called what the dictionary (DICOM PS3.16) calls them.
ANATOMY = {
    "lung", "heart", "clavicle", "rib", "scapula", "spine", "trachea", "mediastinum", "diaphragm", "aorta", "esophagus",
    "liver", "spleen", "kidney", "adrenal_gland", "pancreas", "stomach", "duodenum", "small_intestine", "colon",
    "gallbladder", "prostate", "femur", "breast", "brain", "hippocampus", "thalamus", "cerebellum", "skin", "bone",
}  # fmt: skip
ABNORMAL = {"neoplasm", "mass", "lesion", "edema", "necrosis"}
#: Other words for them.
_SAME = {
    **{"lungs": "lung", "ribs": "rib", "clavicles": "clavicle", "kidneys": "kidney", "femurs": "femur"},
    **{"small_bowel": "small_intestine", "large_bowel": "colon"},
    **{"tumor": "neoplasm", "tumour": "neoplasm", "oedema": "edema"},
}
ANATOMICAL = ("91723000", "SCT", "Anatomical Structure")
MORPHOLOGICAL = ("49755003", "SCT", "Morphologically Abnormal Structure")
LEFT, RIGHT = ("7771000", "SCT", "Left"), ("24028007", "SCT", "Right")
PRIVATE = "99ORGANSEG"


@dataclass(frozen=True)
class OrganCode:
    """How DICOM SEG names an organ; each code is (value, scheme, meaning).

    Attributes:
        category: Anatomical structure, or morphologically abnormal structure.
        type: The organ.
        side: Its side, where the name tells one.
    """

    category: tuple[str, str, str]
    type: tuple[str, str, str]
    side: tuple[str, str, str] | None


def code_of(organ: str, snomed: str | None = None) -> OrganCode:
    """The code of an organ, by its name in the study.

    Args:
        organ: Such as ``left_lung`` or ``heart``.
        snomed: The study's own SNOMED CT code for it.

    Returns:
        Its code; where none is known, a private one whose meaning is the organ's name.
    """
    words = [word for word in re.split(r"[^a-z0-9]+", organ.lower()) if word]
    side = LEFT if "left" in words else RIGHT if "right" in words else None
    bare = "_".join(word for word in words if word not in {"left", "right"})
    bare = _SAME.get(bare, bare)
    known = _dictionary_code(bare) if bare in ANATOMY | ABNORMAL else None
    last = _SAME.get(words[-1], words[-1]) if words else ""
    abnormal = bare in ABNORMAL or (known is None and last in ABNORMAL)
    category = MORPHOLOGICAL if abnormal else ANATOMICAL
    if known is not None and snomed in (None, known[0]):
        return OrganCode(category, known, side)
    meaning = organ.replace("_", " ")[:64]
    if snomed is not None:
        # A code of the study's own choice says all there is to say, its side too.
        return OrganCode(category, (snomed, "SCT", meaning), None)
    return OrganCode(category, (organ.upper()[:16], PRIVATE, meaning), side)


def _dictionary_code(name: str) -> tuple[str, str, str]:
    from pydicom.sr.codedict import codes

    code = getattr(codes.SCT, "".join(word.capitalize() for word in name.split("_")))
    return code.value, "SCT", code.meaning


def coded(item: Dataset, sequence: str, organs: Mapping[str, Organ]) -> tuple[tuple[str, ...], str | None]:
    """A code's meaning and value, and the organ of the study that has this code and side.

    Codes of SNOMED RT, which old objects have, count as their successors in SNOMED CT. Where two organs have the code,
    the side decides; one that no side tells apart is none.
    """
    from pydicom.dataset import Dataset
    from pydicom.sr.coding import Code

    kinds = item.get(sequence) or [Dataset()]
    value, scheme, meaning = (
        str(kinds[0].get(name) or "") for name in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
    )
    if not value or not scheme:
        return _said(meaning, value), None
    modifiers = kinds[0].get("SegmentedPropertyTypeModifierCodeSequence")
    modifiers = modifiers or item.get("SegmentedPropertyTypeModifierCodeSequence") or []
    sides = {side for side in (LEFT, RIGHT) if modifiers and str(modifiers[0].get("CodeValue")) == side[0]}
    same = {}
    for name, organ in organs.items():
        code = code_of(name, organ.snomed)
        if code.type[1] != PRIVATE and Code(*code.type) == Code(value, scheme, meaning):
            same[name] = code.side
    fitting = [name for name, side in same.items() if side in sides] or [
        name for name, side in same.items() if not side
    ]
    return _said(meaning, value), fitting[0] if len(fitting) == 1 else None


def _said(*words: str) -> tuple[str, ...]:
    return tuple(word for word in words if word)
