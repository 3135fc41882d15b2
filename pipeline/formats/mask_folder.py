"""Which scan and which organ each mask file of a folder is of.

Scan and organ are told by what varies in the paths, by the words in them, by the grids that files share, and by what
files hold: a file of several labels holds all organs of its scan. Where that does not decide, both readings are given.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.core.errors import InputError
from pipeline.formats.mask_words import (
    GROUP_WORDS,
    IMAGE_WORDS,
    MASK_WORDS,
    SIDE_WORDS,
    organ_rank,
    says_nothing,
    tokens,
)

#: How paths are to be read, in the words of a user's option.
Layout = Literal["scan", "scan/organ", "organ/scan"]
LAYOUTS: tuple[Layout, ...] = ("scan", "scan/organ", "organ/scan")
#: Files that are opened to see what they hold.
_OPENED = 12
#: Files that are read to see whether they hold several labels.
_READ = 4
_SUFFIX = re.compile(
    r"(\.nii|\.seg)?\.(nii\.gz|gz|nii|nrrd|nhdr|mha|mhd|png|gif|bmp|jpe?g|tiff?|dcm|dicom|ima|img|hdr)$", re.IGNORECASE
)
_OTHER_FORMATS = re.compile(r"\.(nii|gz|nrrd|nhdr|mha|mhd|png|gif|bmp|jpe?g|tiff?|img|hdr)$", re.IGNORECASE)
#: Folders of this program's own exports.
_FORMS = frozenset({"nifti", "rle", "dicom_seg", "coco", "nnunet", "bids", "overlays", "spotlight", "surfaces"})


@dataclass(frozen=True)
class Look:
    """What a file holds.

    Attributes:
        kind: ``one`` organ at most, several ``labels``, an ``image``, or ``unknown``.
        grid: Shape and place, to be compared; ``None`` where they are not known.
        placed: Whether the file says where its voxels lie.
    """

    kind: Literal["one", "labels", "image", "unknown"]
    grid: tuple[object, ...] | None = None
    placed: bool = False


#: Opens a file: its grid, and what it holds where that is asked for.
Looker = Callable[[Path, bool], Look]
Columns = dict[Path, tuple[str, ...]]


@dataclass(frozen=True)
class Reading:
    """One way to read a folder.

    Attributes:
        files: Scan → organ → file; an organ without a name means all organs of the file, or the only one.
        layout: How the paths were read.
        told: The same in a sentence.
        passed_over: Files that are no masks.
    """

    files: dict[str, dict[str, Path]]
    layout: Layout
    told: str
    passed_over: tuple[Path, ...] = ()

    @property
    def organs(self) -> list[str]:
        """Organs that the paths name, in order."""
        return sorted({organ for own in self.files.values() for organ in own} - {""})


def stem(path: Path) -> str:
    """File name without the suffixes of its format."""
    return _SUFFIX.sub("", path.name) or path.name


def list_files(folder: Path) -> list[Path]:
    """All files under a folder but hidden ones; folders that are links are entered, each once."""
    found: list[Path] = []
    entered: set[Path] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = Path(place).resolve()
        if real in entered:
            folders[:] = []
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, entry) for entry in names if not entry.startswith(".")]
    return sorted(found)


def is_image_name(path: Path) -> bool:
    """Whether a file's name ends like that of a mask or an image."""
    return bool(_SUFFIX.search(path.name))


def readings(root: Path, files: Sequence[Path], look: Looker, given: Layout | None = None) -> list[Reading]:
    """Every way to read the mask files of a folder that the evidence leaves, at least one.

    Args:
        root: The folder.
        files: What lies in it.
        look: Opens a file.
        given: How the paths are to be read, where somebody says so.

    Raises:
        InputError: The folder holds several forms of an export, or cannot be read as is said.
    """
    forms = {part for file in files if len(parts := file.relative_to(root).parts) > 1 for part in parts[:1]} & _FORMS
    if len(forms) > 1:
        raise InputError(
            f"holds the same masks in several forms: {', '.join(sorted(forms))}",
            where=str(root),
            remedy="Name the folder of one of them.",
        )
    masks, passed = _without_images(root, files, look)
    columns = _columns(root, masks)
    if given is not None:
        return [_as_given(root, columns, given, passed)]
    plain = _reading(root, columns, None, passed)
    split = _split_stems(columns)
    ranks = [organ_rank({row[i] for row in split.values()}) for i in range(len(next(iter(split.values()))))]
    if len(masks) == 1 or (len(ranks) == 1 and ranks[0] < 1):
        return [plain]
    if any(look(file, True).kind == "labels" for file in _spread(masks, _READ)):
        return [plain]
    found = [_reading(root, split, i, passed) for i in _organ_columns(split, ranks, look)]
    fitting = [reading for reading in found if _shapes_agree(reading, look)]
    if not fitting and _in_doubt(split, ranks):
        able = [i for i in range(len(ranks)) if not any(set(tokens(row[i])) & GROUP_WORDS for row in split.values())]
        return [plain, *(_reading(root, split, i, passed) for i in able)]
    if not fitting or (len(fitting[0].files) == 1 and not _is_one_scan(root, fitting[0], max(ranks), look)):
        return [plain]
    return fitting


def _in_doubt(columns: Columns, ranks: Sequence[int]) -> bool:
    """Whether two numbers make each path, and every pair of them is there: organs of scans, or pictures of patients."""
    rows = list(columns.values())
    values = [{row[i] for row in rows} for i in range(len(ranks))]
    words = {token for row in rows for token in tokens(row[-1])}
    crossed = len(rows) == len(values[0]) * len(values[-1]) and min(map(len, values)) > 1
    return len(ranks) == 2 and max(ranks) < 0 and crossed and not words & (IMAGE_WORDS | GROUP_WORDS)


def _without_images(root: Path, files: Sequence[Path], look: Looker) -> tuple[list[Path], tuple[Path, ...]]:
    """The masks among files, where names of masks and images lie side by side, or contents say what is an image."""
    # Only a DICOM object says in its header whether it is an image.
    maybe = (file for file in files if not _OTHER_FORMATS.search(file.name))
    objects = {file for file in maybe if look(file, False).kind == "image"}
    named = [file for file in files if file not in objects and _words(root, file) & MASK_WORDS]
    others = [file for file in files if file not in objects and not _words(root, file) & MASK_WORDS]
    images = set(objects)
    kinds: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for file in others if named else []:
        relative = file.relative_to(root)
        kinds[tuple(t for t in tokens("/".join((*relative.parts[:-1], stem(file)))) if not t.isdecimal())].append(file)
    for group in kinds.values():
        if look(group[0], True).kind == "image" or all(_words(root, file) & IMAGE_WORDS for file in group):
            images.update(group)
    kept = [file for file in files if file not in images]
    return (kept, tuple(sorted(images))) if kept else (list(files), ())


def _words(root: Path, file: Path) -> set[str]:
    relative = file.relative_to(root)
    return {token for part in (*relative.parts[:-1], stem(file)) for token in (*tokens(part), part.lower())}


def _spread(files: Sequence[Path], count: int) -> list[Path]:
    return list(files[:: max(1, len(files) // count)][:count])


def _columns(root: Path, files: Sequence[Path]) -> Columns:
    """The parts of each path that tell files apart: the same number for each."""
    rows = {file: (*file.relative_to(root).parts[:-1], stem(file)) for file in files}
    rows = _unique(
        rows, {file: tuple(p for p in row[:-1] if not _says_nothing(p)) + row[-1:] for file, row in rows.items()}
    )
    if all(len(row) > 1 and tokens(row[-1])[: len(tokens(row[-2]))] == tokens(row[-2]) for row in rows.values()):
        # <scan>/<scan>_<organ>: what the folder says already tells nothing.
        rows = {file: (*row[:-1], _less(row[-1], row[-2])) for file, row in rows.items()}
    if all(len(row) > 1 for row in rows.values()):
        last = {row[-1] for row in rows.values()}
        if (len(last) == 1 and len(rows) > 1) or all(says_nothing(name) or not name for name in last):
            rows = _unique(rows, {file: row[:-1] for file, row in rows.items()})
    if len({len(row) for row in rows.values()}) > 1:
        return {file: ("/".join(row),) for file, row in rows.items()}
    width = len(next(iter(rows.values())))
    varying = [i for i in range(width) if len({row[i] for row in rows.values()}) > 1]
    return {file: tuple(row[i] for i in varying) if varying else row[-1:] for file, row in rows.items()}


def _says_nothing(folder: str) -> bool:
    return says_nothing(folder) or folder.lower() in {"anat", "dwi", "func"}


def _unique(rows: Columns, shorter: Columns) -> Columns:
    """The shorter rows where they still tell every file apart."""
    return shorter if len(set(shorter.values())) == len(rows) and all(shorter.values()) else rows


def _less(name: str, start: str) -> str:
    return re.sub(r"^[\W_]+", "", name[len(start) :])


def _split_stems(columns: Columns) -> Columns:
    """The last part of each path cut in two, where that tells scan and organ, as ``<scan>_<organ>`` does."""
    names = {file: row[-1] for file, row in columns.items()}
    if all("__" in name.strip("_") for name in names.values()):
        halves = {file: tuple(name.split("__", 1)) for file, name in names.items()}
        return {file: (*columns[file][:-1], *halves[file]) for file in columns}
    words = _without_shared_end({file: re.split(r"[_\-. ]+", name) for file, name in names.items()})
    width = min(len(found) for found in words.values())
    options: list[tuple[int, Columns]] = []
    for count, at_end in itertools.product(range(1, width), (True, False)):
        cut: Columns = {}
        for file, found in words.items():
            scan, organ = (found[:count], found[count:]) if at_end else (found[-count:], found[:-count])
            cut[file] = ("_".join(scan), "_".join(organ))
        scans, organs = ({row[i] for row in cut.values()} for i in (0, 1))
        if len(scans) < 2 or len(set(cut.values())) < len(columns) or not _crosses(list(cut.values()), 1):
            continue
        beside = any(tokens(scan)[-1:] and tokens(scan)[-1] in SIDE_WORDS for scan in scans)
        if organ_rank(organs) > max(0, organ_rank(scans)) and not beside:
            options.append((len(organs), cut))
    if not options:
        return columns
    best = min(options, key=lambda option: option[0])[1]
    return {file: (*columns[file][:-1], *best[file]) for file in columns}


def _without_shared_end(words: dict[Path, list[str]]) -> dict[Path, list[str]]:
    """Names without the words at their end that all have, the first excepted."""
    shared = 0
    while all(len(found) > shared + 1 for found in words.values()):
        if len({found[-1 - shared] for found in words.values()}) > 1:
            break
        shared += 1
    return {file: found[: len(found) - shared] for file, found in words.items()} if len(words) > 1 else words


def _organ_columns(columns: Columns, ranks: Sequence[int], look: Looker) -> list[int]:
    """Parts of the paths that may be organs: one where the evidence decides, none where each file is a scan."""
    width = len(ranks)
    rows = list(columns.values())
    if len(rows) < 2:
        return []
    able = [i for i in range(width) if ranks[i] > 0 and (ranks[i] > 1 or _crosses(rows, i))]
    if not able:
        return [i for i in range(width) if width > 1 and _crosses(rows, i) and _grids_tell(columns, i, look)][:1]
    best = [i for i in able if ranks[i] == max(ranks[j] for j in able)]
    if len(best) > 1:
        told = [i for i in best if _grids_tell(columns, i, look)]
        return told if len(told) == 1 else best
    return best


def _crosses(rows: Sequence[tuple[str, ...]], organ: int) -> bool:
    """Whether the values of one part come again with most values of the others."""
    organs = {row[organ] for row in rows}
    scans = {row[:organ] + row[organ + 1 :] for row in rows}
    again = len(scans) == 1 or len(rows) > max(len(organs), len(scans))
    return again and 2 * len(rows) >= len(organs) * len(scans) and len(organs) > 1


def _grids_tell(columns: Columns, organ: int, look: Looker) -> bool:
    """Whether files that differ in this part alone share a grid, and others do not."""
    grids: dict[tuple[str, ...], set[object]] = defaultdict(set)
    counts: dict[tuple[str, ...], int] = defaultdict(int)
    scans = list(dict.fromkeys(row[:organ] + row[organ + 1 :] for row in columns.values()))[:_READ]
    for file, row in columns.items():
        if row[:organ] + row[organ + 1 :] not in scans or counts[row[:organ] + row[organ + 1 :]] >= _READ:
            continue
        seen = look(file, False)
        if seen.grid is None:
            return False
        grids[row[:organ] + row[organ + 1 :]].add(seen.grid)
        counts[row[:organ] + row[organ + 1 :]] += 1
    alike = all(len(found) == 1 for found in grids.values()) and max(counts.values()) > 1
    return alike and len(grids) > 1 and len({next(iter(found)) for found in grids.values()}) == len(grids)


def _shapes_agree(reading: Reading, look: Looker) -> bool:
    """Whether the masks of a scan have one grid, in a few scans that are looked at."""
    for own in list(reading.files.values())[:3]:
        grids = {seen.grid for file in list(own.values())[:6] if (seen := look(file, False)).grid is not None}
        if len(grids) > 1:
            return False
    return True


def _is_one_scan(root: Path, reading: Reading, rank: int, look: Looker) -> bool:
    """Whether files that lie together are organs of one scan: by their names, their folder's, or their one place."""
    own = [file for found in reading.files.values() for file in found.values()]
    in_folder = any(not _says_nothing(part) for part in own[0].relative_to(root).parts[:-1])
    return rank > 1 or in_folder or all(look(file, False).placed for file in own[:_OPENED])


def _reading(root: Path, columns: Columns, organ: int | None, passed: tuple[Path, ...]) -> Reading:
    files: dict[str, dict[str, Path]] = defaultdict(dict)
    organs = {} if organ is None else _organ_names({row[organ] for row in columns.values()})
    for file, row in columns.items():
        scan = row if organ is None else row[:organ] + row[organ + 1 :]
        name = "/".join(scan) or _own_name(root, file)
        key = "" if organ is None else organs[row[organ]]
        if key in files[name]:
            raise InputError(
                f"two files are named {name!r}", where=str(root), remedy="Give one folder of masks, one file a scan."
            )
        files[name][key] = file
    layout: Layout = "scan" if organ is None else "organ/scan" if organ == 0 and len(row) > 1 else "scan/organ"
    told = {
        "scan": "each file is a scan",
        "scan/organ": "the last part of a path is the organ",
        "organ/scan": "the first part of a path is the organ",
    }[layout]
    return Reading(dict(files), layout, told, passed)


def _organ_names(names: set[str]) -> dict[str, str]:
    """Name → organ: without words such as ``seg``, and without the scan's own name before each of them."""
    words = {name: [w for w in re.split(r"[_\-. ]+", name) if w.lower() not in MASK_WORDS] for name in names}
    plain = {name: "_".join(found) if set(tokens(name)) & MASK_WORDS else name for name, found in words.items()}
    columns = list(zip(*words.values(), strict=False))
    shared = (
        next((i for i, column in enumerate(columns) if len(set(column)) > 1), len(columns)) if len(names) > 1 else 0
    )
    short = {name: "_".join(found[shared:]) for name, found in words.items()}
    for option in (short if shared and organ_rank(set(short.values())) > 1 else plain, plain):
        if all(option.values()) and len(set(option.values())) == len(names):
            return option
    return {name: name for name in names}


def _own_name(root: Path, file: Path) -> str:
    """What a folder of one scan's organs is called."""
    names = [part for part in file.relative_to(root).parts[:-1] if not _says_nothing(part)]
    return names[-1] if names else root.resolve().name


def _as_given(root: Path, columns: Columns, given: Layout, passed: tuple[Path, ...]) -> Reading:
    split = columns if given == "scan" else _split_stems(columns)
    width = len(next(iter(split.values())))
    if given == "organ/scan" and width < 2:
        raise InputError("holds no folders and no names of two parts", where=str(root), remedy="Leave --layout away.")
    organ = {"scan": None, "scan/organ": width - 1, "organ/scan": 0}[given]
    return _reading(root, split, organ, passed)


def in_words(names: Iterable[str], most: int = 5) -> str:
    """The first few names of a list."""
    names = list(names)
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
