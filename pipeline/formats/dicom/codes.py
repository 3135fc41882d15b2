"""SNOMED CT codes of common organs, for DICOM SEG; a study's own codes win."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Organ, without its side → code and meaning (DICOM PS3.16, context groups 4031, 7140, 7156, 7159, 7166 and others).
BUILT_IN: dict[str, tuple[str, str]] = {
    "lung": ("39607008", "Lung"),
    "heart": ("80891009", "Heart"),
    "clavicle": ("51299004", "Clavicle"),
    "rib": ("113197003", "Rib"),
    "scapula": ("79601000", "Scapula"),
    "spine": ("421060004", "Spine"),
    "trachea": ("44567001", "Trachea"),
    "mediastinum": ("72410000", "Mediastinum"),
    "diaphragm": ("5798000", "Diaphragm"),
    "aorta": ("15825003", "Aorta"),
    "esophagus": ("32849002", "Esophagus"),
    "liver": ("10200004", "Liver"),
    "spleen": ("78961009", "Spleen"),
    "kidney": ("64033007", "Kidney"),
    "adrenal_gland": ("23451007", "Adrenal gland"),
    "pancreas": ("15776009", "Pancreas"),
    "stomach": ("69695003", "Stomach"),
    "duodenum": ("38848004", "Duodenum"),
    "small_bowel": ("30315005", "Small intestine"),
    "large_bowel": ("71854001", "Colon"),
    "colon": ("71854001", "Colon"),
    "gallbladder": ("28231008", "Gallbladder"),
    "prostate": ("41216001", "Prostate"),
    "femur": ("71341001", "Femur"),
    "breast": ("76752008", "Breast"),
    "brain": ("12738006", "Brain"),
    "hippocampus": ("5366008", "Hippocampus"),
    "thalamus": ("42695009", "Thalamus"),
    "cerebellum": ("113305005", "Cerebellum"),
    "skin": ("39937001", "Skin"),
    "bone": ("272673000", "Bone"),
}
ABNORMAL: dict[str, tuple[str, str]] = {
    "tumor": ("108369006", "Neoplasm"),
    "tumour": ("108369006", "Neoplasm"),
    "neoplasm": ("108369006", "Neoplasm"),
    "mass": ("4147007", "Mass"),
    "lesion": ("52988006", "Lesion"),
    "edema": ("79654002", "Edema"),
    "oedema": ("79654002", "Edema"),
    "necrosis": ("6574001", "Necrosis"),
}
_PLURALS = {"lungs": "lung", "ribs": "rib", "clavicles": "clavicle", "kidneys": "kidney", "femurs": "femur"}
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
    bare = _PLURALS.get(bare, bare)
    known = BUILT_IN.get(bare) or ABNORMAL.get(bare)
    category = (
        MORPHOLOGICAL if bare in ABNORMAL or (known is None and words[-1:] and words[-1] in ABNORMAL) else ANATOMICAL
    )
    if snomed is not None:
        if known is not None and known[0] == snomed:
            return OrganCode(category, (snomed, "SCT", known[1]), side)
        # A code of the study's own choice says all there is to say, its side too.
        return OrganCode(category, (snomed, "SCT", organ.replace("_", " ")[:64]), None)
    if known is not None:
        return OrganCode(category, (known[0], "SCT", known[1]), side)
    return OrganCode(category, (organ.upper()[:16], PRIVATE, organ.replace("_", " ")[:64]), side)
