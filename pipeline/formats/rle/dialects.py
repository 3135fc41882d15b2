"""The table of RLE dialects: one entry says how a dialect counts and what its files look like."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.core.errors import InputError
from pipeline.formats.rle.runs import Order

Kind = Literal["start-length", "gap-length", "counts", "counts-text"]
Layout = Literal["long", "wide", "coco", "organseg", "labelstudio", "cvat"]


@dataclass(frozen=True)
class Dialect:
    """How one community writes masks as run lengths.

    Attributes:
        name: What it is called on the command line.
        order: Whether the flat order runs along rows or down columns.
        base: The number of the first pixel; of no meaning to counts.
        kind: ``start-length`` (absolute starts), ``gap-length`` (starts counted from the end of the run before),
            ``counts`` (lengths of background and object in turn, from the first pixel), ``counts-text`` (the same in
            COCO's compressed text).
        empty: Cells that mean no pixel; the first is the one written. A blank cell always means it too, except in
            counts, which always name every pixel.
        layout: ``long`` (a row an object), ``wide`` (a column an organ), ``coco`` (JSON), ``organseg`` (our own).
        id_columns: Names that the column of image ids goes by, the written one first.
        mask_columns: Names that the column of runs goes by; organs of the wide layout that are named by custom.
        class_columns: Names that the column of organs goes by, where there is one.
        other_columns: In the wide layout, columns that hold no mask.
        lead: Text before the first number of a cell.
        size: ``(height, width)`` of every picture, where the dialect has one size only.
        nobodys: Whether no known file reads so: it is never detected, only named.
        seen: Whether real files of it were decoded and checked here, and not only descriptions of them.
        note: Where it comes from and what to beware of.
    """

    name: str
    order: Order
    base: int
    kind: Kind
    empty: tuple[str, ...]
    layout: Layout = "long"
    id_columns: tuple[str, ...] = ("id",)
    mask_columns: tuple[str, ...] = ("rle",)
    class_columns: tuple[str, ...] = ()
    other_columns: tuple[str, ...] = ()
    lead: str = ""
    size: tuple[int, int] | None = None
    nobodys: bool = False
    seen: bool = False
    note: str = ""

    @property
    def reading(self) -> tuple[Order, int, str]:
        """What decides the pixels: order, base and kind (the two forms of counts are one)."""
        return (self.order, 0, "counts") if self.counts else (self.order, self.base, self.kind)

    @property
    def counts(self) -> bool:
        """Whether cells hold lengths of background and object in turn, which name every pixel."""
        return self.kind in ("counts", "counts-text")


_IDS = (
    *("ImageId", "id", "image_id", "img", "image", "Image", "ID", "Id", "ImageID", "fname", "filename", "scan_id"),
    *("record_id", "Image_Label", "ImageId_ClassId"),
)
_MASKS = ("EncodedPixels", "rle_mask", "rle", "predicted", "mask", "segmentation", "encoding", "pixels")
#: Names of a column of organs; it is heeded in every long file, and written where the dialect has one.
CLASSES = ("class", "Class", "ClassId", "organ", "label", "class_name")


def _first(name: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return (name, *(other for other in names if other != name))


_KAGGLE = Dialect(
    name="kaggle",
    order="column",
    base=1,
    kind="start-length",
    empty=("", "-"),
    id_columns=_IDS,
    mask_columns=_MASKS,
    seen=True,
    note="Kaggle's classic form; several rows an image where there are several objects.",
)
_COCO = Dialect(
    name="coco",
    order="column",
    base=0,
    kind="counts-text",
    empty=(),
    layout="coco",
    id_columns=_first("image_id", _IDS),
    mask_columns=_first("segmentation", _MASKS),
    class_columns=("category", *CLASSES),
    seen=True,
    note="COCO compressed RLE, as JSON or as JSON cells of a table; checked against pycocotools.",
)
_TABLE = (
    Dialect(
        name="organseg",
        order="row",
        base=0,
        kind="start-length",
        empty=("",),
        layout="organseg",
        id_columns=("scan_id",),
        mask_columns=("rle",),
        class_columns=("organ",),
        seen=True,
        note="Our own: every row says how to decode itself, and carries a checksum of its mask.",
    ),
    _KAGGLE,
    replace(
        _KAGGLE,
        name="airbus",
        size=(768, 768),
        note="Airbus Ship Detection: Kaggle's classic form, one ship a row.",
    ),
    replace(
        _KAGGLE,
        name="tgs",
        id_columns=_first("id", _IDS),
        mask_columns=_first("rle_mask", _MASKS),
        size=(101, 101),
        seen=False,
        note="TGS Salt Identification: Kaggle's classic form.",
    ),
    replace(
        _KAGGLE,
        name="severstal",
        class_columns=_first("ClassId", CLASSES),
        size=(256, 1600),
        seen=False,
        note="Severstal Steel Defects: Kaggle's classic form with a class of defect.",
    ),
    replace(
        _KAGGLE,
        name="hubmap",
        id_columns=_first("id", _IDS),
        mask_columns=_first("rle", _MASKS),
        seen=False,
        note="HuBMAP: Kaggle's classic form; pictures of any size.",
    ),
    Dialect(
        name="uw-madison",
        order="row",
        base=1,
        kind="start-length",
        empty=("", "nan", "NaN"),
        id_columns=_first("id", _IDS),
        mask_columns=_first("segmentation", _MASKS),
        class_columns=CLASSES,
        note="UW-Madison GI Tract: a row an image and class; by rows as its users decode it.",
    ),
    Dialect(
        name="vesuvius",
        order="row",
        base=1,
        kind="start-length",
        empty=("",),
        id_columns=_first("Id", _IDS),
        mask_columns=_first("Predicted", (*_MASKS, "predicted")),
        note="Vesuvius Ink Detection: one row a fragment.",
    ),
    Dialect(
        name="chexmask",
        order="row",
        base=1,
        kind="start-length",
        empty=("",),
        layout="wide",
        id_columns=("image_id", "ImageID", "Path", "Image Index", "dicom_id"),
        mask_columns=("Left Lung", "Right Lung", "Heart"),
        other_columns=("Dice RCA (Mean)", "Dice RCA (Max)", "Landmarks", "Height", "Width"),
        seen=True,
        note="CheXmask: a column an organ; some of its files lack heights and widths in many rows.",
    ),
    Dialect(
        name="siim",
        order="column",
        base=0,
        kind="gap-length",
        empty=("-1",),
        id_columns=_first("ImageId", _IDS),
        mask_columns=_MASKS,
        lead=" ",
        size=(1024, 1024),
        seen=True,
        note="SIIM-ACR Pneumothorax: starts count from the end of the run before; several rows an image.",
    ),
    _COCO,
    replace(
        _COCO,
        name="coco-list",
        kind="counts",
        note="COCO uncompressed RLE: a list of counts; checked against pycocotools.",
    ),
)

#: Dialects that are read and written.
DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in _TABLE}

_FROM_0 = replace(
    _KAGGLE,
    name="columns-from-0",
    base=0,
    class_columns=CLASSES,
    seen=False,
    nobodys=True,
    note="Tables as Kaggle's whose first pixel is 0: for files that somebody wrote so; never detected.",
)
_TOOL = Dialect(
    name="labelstudio",
    order="row",
    base=0,
    kind="start-length",
    empty=("",),
    layout="labelstudio",
    note="Label Studio's JSON export: brush strokes and polygons; each annotator's masks are organ@annotator where a "
    "task has several.",
)
#: Dialects that are read and never written.
READ_ONLY: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        replace(
            DIALECTS["vesuvius"],
            name="sartorius",
            id_columns=("id",),
            mask_columns=("annotation",),
            class_columns=("cell_type",),
            note="Sartorius Cell Instances: a row a cell, by rows, with the width and height of its picture.",
        ),
        _FROM_0,
        replace(
            _FROM_0,
            name="rows-from-0",
            order="row",
            note="The same along rows.",
        ),
        _TOOL,
        replace(
            _TOOL,
            name="cvat",
            layout="cvat",
            note="CVAT's XML for images and for video: masks and polygons; frames are slices of one scan.",
        ),
    )
}

#: Layouts of annotation tools, whose own codings are read into ours.
TOOLS = ("labelstudio", "cvat")


def dialect_named(name: str | Dialect) -> Dialect:
    """Look a dialect up by name; a :class:`Dialect` is given back as it is.

    Raises:
        InputError: There is none of that name; the nearest is suggested.
    """
    if isinstance(name, Dialect):
        return name
    key = name.strip().lower().replace("_", "-")
    known = DIALECTS | READ_ONLY
    if key in known:
        return known[key]
    near = difflib.get_close_matches(key, known, 1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise InputError(f"there is no RLE dialect {name!r}", remedy=f"{hint}Known: {', '.join(known)}.")
