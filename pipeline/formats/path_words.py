"""The field's words in names of files and folders, and how a name is cut into words and numbers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from pipeline.formats.table import IMAGE_ENDINGS


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


#: Words that name a reader's drawing and say so outright; ``mask`` may also be the field of view.
TRUTH = _set(
    "annotation annotations annot anno gt gts ground truth groundtruth manual manually label labels lbl lab labelmap "
    "labelmaps seg segs segm segms segmentation segmentations segmap segmaps contour contours "
    "delineation delineations structures structure outline outlines parcellation aseg dseg oar oars"
)
MASK = TRUTH | _set("mask masks msk msks roi rois maske masken")
#: Words that name what is drawn: a drawing, beside files whose names have none of them.
DRAWN = _set(
    "lesion lesions tumor tumors tumour tumours vessel vessels wmh infarct aneurysm aneurysms reference gd anatomy "
    "consensus nodule nodules polyp polyps"
)
#: Words that name what a model found: no reader's drawing.
FOUND = _set("pred preds prediction predictions predicted output outputs result results inference auto automatic")
#: Words that name what was recorded.
IMAGE = _set(
    "image images img imgs imaging scan scans raw orig original originals input inputs volume volumes vol vols data "
    "picture pictures photo photos"
)
#: Words that say how a file is written; the same scan may lie there in two formats.
FORMAT = _set("png jpg jpeg tif tiff nii nifti niftis dicom dicoms dcm bmp gif mha mhd nrrd hdr anon")
#: What was recorded of one person at once: sequences, modalities, contrasts.
SEQUENCE = _set(
    "t1 t2 cet1 hrt2 t1w t2w t1ce t1c t1n t1gd t1post t1pre t2f t2s t1km t2star pd pdw flair dwi adc dir swi mra mrv "
    "ir stir spir perfusion dce dsc ct cta cbct mr mri pt pet suv ctres us bold inphase outphase inp outp water fat "
    "zadc ktrans hbv cor sag tra ax axial sagittal coronal"
)
#: Times, views, sides and parts of one person's scans; with a number beside it or without.
MOMENT = _set(
    "visit vis timepoint time tp session ses baseline bl followup fu day week month months year years exam study run "
    "echo frame phase slice slices slc sl z rep repeat scan acq acquisition ed es pre post date v m"
)
VIEW = _set("view ap pa lat lateral frontal oblique cc mlo sa la sax lax 2ch 3ch 4ch ch left right l r lt rt od os")
#: Words before the number of a person.
PERSON = _set("patient patients pat pt person participant participants subject subjects subj sub proband")
#: Groups of people, by the column that keeps them.
GROUPS = {
    "site": _set("site sites center centre centers centres hospital clinic vendor scanner institute institution"),
    "part": _set("train training tr test testing ts val validation va valid dev trainval subset fold batch part set"),
    "group": _set("task class grade stage cohort dataset group type category benign malignant normal"),
}
GROUP = frozenset().union(*GROUPS.values())
#: Several people who drew the same thing.
READER = re.compile(r"(?:reader|rater|observer|expert|annotator|grader|physician|doctor|ho)s?", re.I)
#: What several readers' drawings were made into.
AGREED = re.compile(r"average|mean|consensus|majority|staple|fused|agreed", re.I)
#: Ways in which one recording was worked on: alternatives, not channels.
WORKED = _set(
    "orig original raw norm normalized normalised strip stripped skullstripped brain bet pre preprocessed pp cropped "
    "crop bias n4 corrected resampled registered aligned warped reg denoised enhanced clahe"
)
_KNOWN = MASK | IMAGE | FORMAT | SEQUENCE | MOMENT | VIEW | PERSON | GROUP
_UID = re.compile(r"\d+(?:\.\d+){4,}")
_GLUED = re.compile(r"(labels?|images?|masks?|img|seg)(tr|ts|te|va|val|valid|test|train|training)", re.I)
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_]+")
_ENDS = re.compile(r"(.{2,}?)(masks?|labels?|annot|seg|segmentations?|images?)", re.I)


@dataclass(frozen=True)
class Token:
    """A word or a number of a name.

    Attributes:
        text: As it is written.
        low: In small letters, composed (NFC).
        at: Which part of the path it stands in.
        gap: What stands between it and the token before.
    """

    text: str
    low: str
    at: int = 0
    gap: str = ""

    @property
    def is_number(self) -> bool:
        """Whether it is digits alone, or a DICOM UID."""
        return self.low.replace(".", "").isdecimal()


def stem(path: str | PurePath) -> str:
    """A file's name without the endings of scans."""
    name = path if isinstance(path, str) else path.name
    for ending in (".seg.nrrd", *IMAGE_ENDINGS, ".gif", ".bmp", ".hdr", ".img", ".nhdr", ".hdr.gz", ".img.gz"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def cut(name: str, at: int = 0) -> list[Token]:
    """The words and numbers of one part of a path.

    ``leftMask`` is two words, ``img0001`` a word and a number, and so is ``01L``; a DICOM UID is one number.
    """
    name = unicodedata.normalize("NFC", name)
    found: list[str] = []
    start = 0
    for uid in _UID.finditer(name):
        found += _words(name[start : uid.start()])
        found.append(uid.group())
        start = uid.end()
    found += _words(name[start:])
    tokens = []
    start = 0
    for text in found:
        begin = name.index(text, start)
        tokens.append(Token(text, text.lower(), at, name[start:begin]))
        start = begin + len(text)
    return tokens


def written(tokens: Sequence[Token]) -> str:
    """Tokens that follow each other, as they stand in the name."""
    return "".join((token.gap if index else "") + token.text for index, token in enumerate(tokens))


def _words(text: str) -> list[str]:
    return [word for chunk in re.split(r"[\W_]+", text) if chunk for word in _chunk(chunk)]


def _chunk(chunk: str) -> list[str]:
    low = chunk.lower()
    if low in _KNOWN or chunk.isdecimal():
        return [chunk]
    if mixed := re.fullmatch(r"([^\W\d_]+)(\d+)", chunk):
        return [*_chunk(mixed[1]), mixed[2]]
    if sided := re.fullmatch(r"([^\W\d_]+)(\d+)(l|r|lt|rt|od|os|left|right)", chunk, re.I):
        return [*_chunk(sided[1]), sided[2], sided[3]]
    if re.fullmatch(r"\d+(?:st|nd|rd|th)[^\W\d_]*", low):
        return [chunk]
    if mixed := re.fullmatch(r"(\d+)([^\W\d_]+)", chunk):
        return [mixed[1], *_chunk(mixed[2])]
    if glued := _GLUED.fullmatch(chunk):
        return [glued[1], glued[2]]
    if chunk.isalpha() and (glued := _ENDS.fullmatch(chunk)):
        return [*_chunk(glued[1]), glued[2]]
    pieces = _CAMEL.findall(chunk)
    if len(pieces) > 1 and "".join(pieces) == chunk and any(piece.lower() in MASK | IMAGE for piece in pieces):
        return [word for piece in pieces for word in ([piece] if piece == chunk else _chunk(piece))]
    return [chunk]


def role(tokens: list[Token]) -> str:
    """What words say that something is: ``mask``, ``image`` or nothing. A mask's word counts more: ``mask_image``."""
    words = {token.low for token in tokens}
    return "mask" if words & MASK else "image" if words & IMAGE else ""


def is_closing(tokens: list[Token]) -> int:
    """How many tokens at the end of a name say which scan of a person it is: ``visit1``, ``T1``, ``L``, ``12m``."""
    if not tokens:
        return 0
    closing = SEQUENCE | MOMENT | VIEW
    last = tokens[-1].low
    before = tokens[-2].low if len(tokens) > 1 else ""
    if tokens[-1].is_number and before in closing - {"l", "r", "ap", "pa"}:
        return 2
    if last in {"m", "y", "d", "mo"} and len(tokens) > 1 and tokens[-2].is_number:
        return 2
    if last in {"v", "m"}:
        return 0
    return 1 if last in closing or re.fullmatch(r"(?:19|20)\d{6}", last) else 0
