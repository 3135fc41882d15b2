"""BIDS trees: scans and masks by the entities of their names (bids-specification.readthedocs.io)."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from pipeline.core.errors import InputError
from pipeline.formats.path_words import stem
from pipeline.ingest.drafts.contents import look, same_grid
from pipeline.ingest.drafts.listing import Item, list_items, walk
from pipeline.ingest.drafts.pairing import REMEDY
from pipeline.ingest.drafts.plain import Left, fits
from pipeline.ingest.drafts.summary import Choices, Draft, row, tidy

#: Suffixes of files that are no scans; ``probseg`` is no mask either.
MASKS = {"dseg", "mask", "msk", "seg", "roi", "label", "labels", "labelmap"}
_PROBABLE = {"probseg", "xfm", "warp", "timeseries", "boldref", "dlabel", "ctd", "snp"}
#: Folders of data types that are not drafted.
_OTHER_TYPES = {"func", "fmap", "eeg", "meg", "ieeg", "beh", "nirs", "motion", "figures", "log", "logs"}
#: Entities that say what a mask shows or how it was made, and nothing of the scan.
_OF_MASKS = frozenset(
    ["desc", "label", "seg", "atlas", "scale", "hemi", "den", "res", "from", "to", "mode", "method", "rater"]
)
#: Spaces that are the scan's own; so is the one called after its suffix, such as ``T1w``.
_NATIVE = {"", "orig", "native", "individual", "anat"}
_ENTITY = re.compile(r"([A-Za-z]+)-(.+)")
_MANY = 30


@dataclass(frozen=True)
class File:
    """A file with its entities.

    Attributes:
        item: The file.
        entities: Key → value.
        suffix: The last word of its name, such as ``T1w``.
        pipeline: The derivative that it belongs to; empty for raw data.
        datatype: The folder that it lies in.
    """

    item: Item
    entities: Mapping[str, str]
    suffix: str
    pipeline: str
    datatype: str

    @property
    def key(self) -> tuple[str, str]:
        """Person and session."""
        return self.entities["sub"], self.entities.get("ses", "")


def is_bids(folder: Path) -> bool:
    """Whether a folder is a BIDS tree: it says so, or its files are named so."""
    if (folder / "dataset_description.json").is_file():
        return True
    volumes = (path.name for path in walk(folder) if path.name.endswith((".nii", ".nii.gz")))
    first = list(islice(volumes, 50))
    named = [
        name for name in first if re.fullmatch(r"sub-[^_]+(?:_[A-Za-z]+-[^_]+)*_[A-Za-z0-9-]+\.nii(?:\.gz)?", name)
    ]
    return bool(named) and len(named) >= 0.8 * len(first)


def parse(item: Item) -> File | None:
    """Entities and suffix of a file's name; ``None`` where it has no person."""
    path = PurePosixPath(item.path)
    entities: dict[str, str] = {}
    words = stem(path.name).split("_")
    suffix = ""
    for word in words:
        if match := _ENTITY.fullmatch(word):
            entities.setdefault(match[1], match[2])
        else:
            suffix = word
    if "sub" not in entities or not suffix:
        return None
    pipeline = ""
    if "derivatives" in path.parts:
        at = path.parts.index("derivatives")
        pipeline = path.parts[at + 1] if not path.parts[at + 1].startswith("sub-") else "derivatives"
    return File(item, entities, suffix, pipeline, path.parent.name)


def draft_bids(folder: Path, choices: Choices) -> Draft | None:
    """Draft a BIDS tree; ``None`` where its files are not named so.

    Raises:
        InputError: A scan has several masks of all organs, or a mask fits several scans.
    """
    listing = list_items(folder)
    left: Left = defaultdict(list)
    files = []
    for item in listing.items:
        found = parse(item)
        if found is None:
            left["no file of a person, such as an atlas or a template"].append(item.path)
        else:
            files.append(found)
    if not files:
        return None
    scans, masks = _sorted(files, left, choices)
    masks_of, unused = _match(folder, scans, masks)
    scans = _raw_or_derived(scans, masks_of, left)
    left["masks of no scan"] += [mask.item.path for mask in unused]
    notes = ["Each file under anat is a scan; --images takes some of them, such as --images T1w."]
    rows = []
    people = _participants(folder)
    for scan in sorted(scans, key=lambda scan: scan.item.path):
        named = _organs(folder, scan, masks_of.get(scan.item.path, []), left)
        cells = row(stem(PurePosixPath(scan.item.path).name), f"sub-{scan.entities['sub']}", scan.item.path, named)
        if scan.entities.get("ses"):
            cells["session"] = scan.entities["ses"]
        rows.append(cells | people.get(f"sub-{scan.entities['sub']}", {}))
    if choices.each:
        rows = [{**cells, "patient_id": cells["scan_id"]} for cells in rows]
    notes += _spaces(scans)
    notes += _named_labels(folder, [p for cells in rows if (p := cells["mask"])])
    return Draft("BIDS tree", tidy(rows), notes, left)


def _sorted(files: Sequence[File], left: Left, choices: Choices) -> tuple[list[File], list[File]]:
    """Scans and masks among the files; all else is left out with its reason."""
    scans, masks = [], []
    for file in files:
        path = file.item.path
        if file.suffix in _PROBABLE:
            left[f"{file.suffix} files are no scans and no masks"].append(path)
        elif file.datatype in _OTHER_TYPES or file.item.kind == "picture" or "sourcedata" in path.split("/"):
            kind = "pictures" if file.item.kind == "picture" else file.datatype
            left[f"{kind}: not drafted"].append(path)
        elif file.suffix in MASKS or ("label" in file.entities and file.pipeline):
            if not choices.masks or fits(path, choices.masks):
                masks.append(file)
            else:
                left["not chosen by --masks"].append(path)
        elif not choices.images or fits(path, choices.images):
            scans.append(file)
        else:
            left["not chosen by --images"].append(path)
    return scans, masks


def _match(folder: Path, scans: Sequence[File], masks: Sequence[File]) -> tuple[dict[str, list[File]], list[File]]:
    """Masks of each scan, by its path; and masks of none.

    Raises:
        InputError: A mask fits several scans, and neither names nor grids decide.
    """
    by_person: dict[tuple[str, str], list[File]] = defaultdict(list)
    for scan in scans:
        by_person[scan.key].append(scan)
    masks_of: dict[str, list[File]] = defaultdict(list)
    unused = []
    for mask in masks:
        near = [scan for scan in by_person.get(mask.key, []) if _fits(mask, scan)]
        best = _nearest(folder, mask, near, scans)
        if best is None:
            unused.append(mask)
        else:
            masks_of[best.item.path].append(mask)
    return masks_of, unused


def _fits(mask: File, scan: File) -> bool:
    """Whether nothing that a mask's name says denies that it is this scan's."""
    for key, value in mask.entities.items():
        if key in _OF_MASKS or key == "space":
            continue
        if key == "mod":
            if value != scan.suffix:
                return False
        elif scan.entities.get(key) != value:
            return False
    mine, theirs = mask.entities.get("space", ""), scan.entities.get("space", "")
    if mine == theirs:
        return True
    own = {*_NATIVE, scan.suffix}
    return mine in own and theirs in own


def _nearest(folder: Path, mask: File, near: Sequence[File], scans: Sequence[File]) -> File | None:
    """The scan of a mask: of those that fit, the one of the same derivative or the raw one, and of one grid.

    Raises:
        InputError: Several are as near.
    """
    if not near:
        return None
    raw = [scan for scan in near if not scan.pipeline]
    same = [
        scan for scan in near if scan.pipeline == mask.pipeline and scan.item.path.rsplit("/", 1)[0] == _place(mask)
    ]
    suffixes = {scan.suffix for scan in same}
    pool = [scan for scan in raw if not suffixes or scan.suffix in suffixes] or same or list(near)
    mine = look(folder / mask.item.path).grid
    if mine and same and not any(same_grid(look(folder / scan.item.path).grid, mine) for scan in pool):
        pool = [scan for scan in same if same_grid(look(folder / scan.item.path).grid, mine)] or pool
    if len(pool) > 1:  # a word more in the scan's name than in the mask's is one less in common
        extra = {scan.item.path: len(set(scan.entities) - set(mask.entities) - {"desc"}) for scan in pool}
        pool = [scan for scan in pool if extra[scan.item.path] == min(extra.values())]
    if len(pool) > 1 and mask.entities.get("desc"):
        worded = [s for s in pool if s.suffix.lower() in mask.entities["desc"].lower()]
        pool = worded or pool
    if len(pool) > 1:
        grids = [scan for scan in pool if mine and same_grid(look(folder / scan.item.path).grid, mine)]
        pool = grids or pool
    if len(pool) > 1:
        raise InputError(
            f"{mask.item.path} fits {pool[0].item.path} and {pool[1].item.path}",
            where=str(folder),
            remedy=f"Say which with --images, such as --images {pool[0].suffix}.",
        )
    return pool[0]


def _place(file: File) -> str:
    return file.item.path.rsplit("/", 1)[0]


def _raw_or_derived(scans: Sequence[File], masks_of: Mapping[str, list[File]], left: Left) -> list[File]:
    """Raw scans; of derivatives those alone that have masks where no raw scan of the person has."""
    if not any(not scan.pipeline for scan in scans):
        return list(scans)
    kept = []
    drawn = {scan.key for scan in scans if not scan.pipeline and masks_of.get(scan.item.path)}
    for scan in scans:
        if not scan.pipeline or (masks_of.get(scan.item.path) and scan.key not in drawn):
            kept.append(scan)
        else:
            left["images of derivatives, beside the raw ones"].append(scan.item.path)
    return kept


def _organs(folder: Path, scan: File, masks: Sequence[File], left: Left) -> dict[str, str]:
    """Organ → mask of a scan; ``""`` is one of all organs.

    Raises:
        InputError: Several could be the one of all organs.
    """
    if not masks:
        return {}
    whole = [m for m in masks if m.suffix != "mask" and "label" not in m.entities]
    single = [m for m in masks if m not in whole]
    if len(masks) == 1:
        return {"": masks[0].item.path}
    if whole:
        plain = [m for m in whole if not set(m.entities) & (_OF_MASKS - {"res"})]
        if len(whole) > 1 and len(plain) != 1:
            _refuse(folder, scan, whole)
        taken = whole[0] if len(whole) == 1 else plain[0]
        for mask in masks:
            if mask is not taken:
                left[f"other masks beside _{taken.suffix}; --masks takes them"].append(mask.item.path)
        return {"": taken.item.path}
    named: dict[str, str] = {}
    for mask in single:
        organ = mask.entities.get("label") or mask.entities.get("desc") or mask.entities.get("seg") or ""
        if organ in named:
            _refuse(folder, scan, single)
        named[organ] = mask.item.path
    if "" in named:
        _refuse(folder, scan, single)
    return named


def _refuse(folder: Path, scan: File, masks: Sequence[File]) -> None:
    one, two = masks[0], masks[1]
    differ = next((f"{k}-{v}" for k, v in one.entities.items() if two.entities.get(k) != v), one.suffix)
    raise InputError(
        f"{scan.item.path} has several masks that could each be the one of all organs: {one.item.path} and "
        f"{two.item.path}",
        where=str(folder),
        remedy=f"Say which with --masks, such as --masks {differ}. {REMEDY.split('.')[0]}.",
    )


def _participants(folder: Path) -> dict[str, dict[str, str]]:
    """Columns of ``participants.tsv`` for each person, but for those that a manifest has itself."""
    for place in (folder, folder / "rawdata", folder.parent):
        path = place / "participants.tsv"
        if path.is_file():
            break
    else:
        return {}
    table = _tsv(path)
    kept: dict[str, dict[str, str]] = {}
    for line in table:
        person = line.get("participant_id", "")
        if person:
            kept[person if person.startswith("sub-") else f"sub-{person}"] = {
                _column(name): "" if cell == "n/a" else cell
                for name, cell in line.items()
                if name and name != "participant_id"
            }
    return kept


def _column(name: str) -> str:
    from pipeline.core.manifest import KNOWN

    return f"participant_{name}" if name in KNOWN or name.startswith("mask_") or name == "session" else name


def _tsv(path: Path) -> list[dict[str, str]]:
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    if not lines:
        return []
    names = lines[0].split("\t")
    return [dict(zip(names, (cell.strip() for cell in line.split("\t")), strict=False)) for line in lines[1:] if line]


def _spaces(scans: Sequence[File]) -> list[str]:
    spaces = Counter(scan.entities.get("space", "") for scan in scans)
    if len(spaces) < 2:
        return []
    named = ", ".join(name or "native" for name in spaces)
    return [f"Scans lie in several spaces ({named}): the same person more than once; --images takes one of them."]


def _named_labels(folder: Path, masks: Sequence[str]) -> list[str]:
    """What the values of the masks mean, by the nearest ``_dseg.tsv``, or the mask's own JSON."""
    tables: dict[str, str] = {}
    seen: set[str] = set()
    for mask in masks:
        parsed = parse(Item(mask, "volume"))
        about = "_".join(f"{k}-{v}" for k, v in (parsed.entities if parsed else {}).items() if k in _OF_MASKS)
        if about in seen:
            continue
        seen.add(about)
        table = _label_table(folder, mask)
        if table:
            tables[table[0]] = table[1]
    return [f"Labels of {name}: {labels}." for name, labels in tables.items()]


def _label_table(folder: Path, mask: str) -> tuple[str, str] | None:
    """The table whose entities are all the mask's, nearest above it (BIDS's inheritance)."""
    mine = parse(Item(mask, "volume"))
    if mine is None:
        return None
    place = (folder / mask).parent
    while True:
        fitting = [path for path in sorted(place.glob("*dseg.tsv")) if _inherits(path, mine)]
        if fitting:
            return _labels(folder, max(fitting, key=lambda one: len(one.name)))
        if place == folder or folder not in place.parents:
            break
        place = place.parent
    # A template's own table speaks of the same atlas.
    atlas = {key: value for key, value in mine.entities.items() if key in {"atlas", "scale", "seg"}}
    words = [f"{key}-{value}" for key, value in atlas.items()]
    others = [path for path in walk(folder) if path.name.endswith("_dseg.tsv") and words]
    others = [path for path in others if set(words) <= set(path.name.split("_"))]
    return _labels(folder, others[0]) if others else None


def _labels(folder: Path, path: Path) -> tuple[str, str]:
    """A label table's name and its values with their names."""
    labels = [f"{line['index']} {line.get('name', '')}" for line in _tsv(path) if line.get("index")]
    more = f" and {len(labels) - _MANY} more" if len(labels) > _MANY else ""
    return path.relative_to(folder).as_posix(), ", ".join(labels[:_MANY]) + more


def _inherits(path: Path, mask: File) -> bool:
    for word in path.name.removesuffix(".tsv").split("_")[:-1]:
        match = _ENTITY.fullmatch(word)
        if match is None or mask.entities.get(match[1]) != match[2]:
            return False
    return True
