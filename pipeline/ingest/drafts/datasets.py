"""Folders that a ``dataset.json`` describes: the Medical Segmentation Decathlon and nnU-Net's raw folders."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.files import read_json
from pipeline.core.names import within
from pipeline.formats.path_words import stem
from pipeline.ingest.drafts.patients import Named, assign
from pipeline.ingest.drafts.plain import Left, fits
from pipeline.ingest.drafts.summary import Choices, Draft, row, tidy

_LISTS = ("training", "validation", "test")


def draft_described(folder: Path, choices: Choices) -> Draft | None:
    """Draft a folder by its ``dataset.json``; ``None`` where there is none that lists or describes scans.

    Raises:
        InputError: Several folders below have one, or a path in it leaves the folder.
    """
    found = folder / "dataset.json"
    if not found.is_file():
        below = sorted(folder.glob("*/dataset.json"))
        if len(below) > 1:
            several = ", ".join(path.parent.name for path in below[:4])
            raise InputError(f"holds several data sets: {several}", where=str(folder), remedy="Name one of them.")
        if not below or any(
            p.is_dir() and p != below[0].parent and not p.name.startswith(".") for p in folder.iterdir()
        ):
            return None
        found = below[0]
    content = read_json(found)
    if not isinstance(content, dict):
        return None
    root = found.parent.relative_to(folder).as_posix()
    prefix = "" if root == "." else f"{root}/"
    left: Left = defaultdict(list)
    listed = isinstance(content.get("training"), list) or isinstance(content.get("test"), list)
    if isinstance(content.get("dataset"), dict):
        cases, kind = _named_cases(content["dataset"], prefix), "nnU-Net raw folder (version 2, files listed)"
    elif "channel_names" in content:
        cases, kind = _nnunet(folder, prefix, content), "nnU-Net raw folder (version 2)"
    elif listed:
        cases, kind = _listed(folder, prefix, content), "Decathlon dataset.json"
        if any(len(images) > 1 or images[0].endswith("_0000.nii.gz") for _, images, _ in cases):
            kind = "nnU-Net raw folder (version 1)"
    else:
        return None
    kept = [case for case in cases if not choices.images or fits(case[1][0], choices.images)]
    rows = _rows(folder, kept, left, choices)
    notes = rows[1]
    if labels := _labels(content.get("labels")):
        notes.insert(0, f"Labels: {labels}.")
    if names := _channels(content):
        notes.append(f"Channels of each scan, for ingest.channels: [{', '.join(names)}].")
    return Draft(kind, tidy(rows[0]), notes, left)


Case = tuple[str, tuple[str, ...], str]


def _named_cases(content: Mapping[str, Any], prefix: str) -> list[Case]:
    cases = []
    for name, case in content.items():
        images = case.get("images") or []
        cases.append((str(name), tuple(prefix + _relative(str(i)) for i in images), prefix + _relative(case["label"])))
    return [case for case in cases if case[1]]


def _relative(path: str) -> str:
    return path.removeprefix("./")


def _listed(folder: Path, prefix: str, content: Mapping[str, Any]) -> list[Case]:
    """Cases as the Decathlon lists them; nnU-Net's first version lists ``x.nii.gz`` for ``x_0000.nii.gz``."""
    cases = []
    for entry in (entry for name in _LISTS for entry in content.get(name) or []):
        about: dict[str, Any] = {"image": entry} if isinstance(entry, str) else entry
        images = about["image"] if isinstance(about["image"], list) else [about["image"]]
        paths: tuple[str, ...] = tuple(prefix + _relative(str(image)) for image in images)
        name = stem(PurePosixPath(paths[0]).name)
        if len(paths) == 1 and not within(folder, paths[0]).is_file():
            paths = _split(folder, paths[0]) or paths
        label = about.get("label")
        label = label[0] if isinstance(label, list) and label else label
        drawn = prefix + _relative(str(label)) if label else _beside(folder, paths[0], name)
        cases.append((name, paths, drawn))
    return cases


def _split(folder: Path, path: str) -> tuple[str, ...]:
    """``x_0000.nii.gz``, ``x_0001.nii.gz``, … for ``x.nii.gz``."""
    whole = PurePosixPath(path)
    base = stem(whole.name)
    ending = whole.name[len(base) :]
    base = re.sub(r"_0000$", "", base)
    pattern = re.compile(rf"{re.escape(base)}_\d{{4}}{re.escape(ending)}")
    place = within(folder, whole.parent.as_posix())
    names = sorted(p.name for p in place.iterdir() if pattern.fullmatch(p.name)) if place.is_dir() else []
    return tuple("/".join([*whole.parent.parts, name]) for name in names)


def _beside(folder: Path, image: str, name: str) -> str:
    """A label of the same name in the folder ``labelsTs`` beside ``imagesTs``."""
    place = PurePosixPath(image)
    if not place.parent.name.startswith("images"):
        return ""
    ending = place.name[len(stem(place.name)) :]
    folders = [*place.parent.parent.parts, place.parent.name.replace("images", "labels")]
    label = "/".join([*folders, f"{name}{ending}"])
    return label if within(folder, label).is_file() else ""


def _nnunet(folder: Path, prefix: str, content: Mapping[str, Any]) -> list[Case]:
    ending = str(content.get("file_ending", ".nii.gz"))
    channels = len(content["channel_names"])
    cases = []
    for part in ("imagesTr", "imagesTs", "imagesVal", "imagesVa"):
        place = within(folder, f"{prefix}{part}")
        pattern = re.compile(rf"(.+)_\d{{4}}{re.escape(ending)}")
        inside = sorted(p.name for p in place.iterdir()) if place.is_dir() else []
        for case in dict.fromkeys(m[1] for n in inside if not n.startswith(".") and (m := pattern.fullmatch(n))):
            images = tuple(f"{prefix}{part}/{case}_{channel:04d}{ending}" for channel in range(channels))
            label = f"{prefix}{part.replace('images', 'labels')}/{case}{ending}"
            cases.append((case, images, label if within(folder, label).is_file() else ""))
    return cases


def _rows(folder: Path, cases: Sequence[Case], left: Left, choices: Choices) -> tuple[list[dict[str, str]], list[str]]:
    """Rows of the cases whose files are there, and notes."""
    there = []
    for name, images, label in cases:
        absent = [path for path in images if not within(folder, path).is_file()]
        if absent:
            left["named in dataset.json and not there"] += absent
        else:
            there.append((name, images, label))
    people = assign([Named((name,)) for name, *_ in there], each=choices.each)
    rows = []
    for (name, images, label), patient in zip(there, people.ids, strict=True):
        if label and not within(folder, label).is_file():
            left["named in dataset.json and not there"].append(label)
            label = ""
        rows.append(row(name, patient, ";".join(images), {"": label} if label else None))
    return rows, people.notes


def _labels(labels: Any) -> str:
    """Labels as ``1 liver, 2 spleen``, whichever way dataset.json has them."""
    if not isinstance(labels, dict):
        return ""
    pairs: Iterable[tuple[Any, Any]] = labels.items()
    if not all(str(key).isdecimal() for key in labels):
        pairs = ((value, name) for name, value in labels.items())
    return ", ".join(f"{value} {name}" for value, name in pairs)


def _channels(content: Mapping[str, Any]) -> list[str]:
    names = content.get("channel_names") or content.get("modality")
    return [str(name) for name in names.values()] if isinstance(names, dict) and len(names) > 1 else []
