"""Pairs of scans read and measured: on one grid, with organs of one name, in the unit that the files hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.files import Cells
from pipeline.core.labels import LabelMap
from pipeline.core.names import plain
from pipeline.core.scan import Grid
from pipeline.core.units import LengthUnit
from pipeline.evaluate.mask_files import UNNAMED
from pipeline.evaluate.rows import measured_rows, missing_rows
from pipeline.evaluate.scan_masks import ScanMasks
from pipeline.evaluate.segmentations import shared_grid
from pipeline.evaluate.sources import Source
from pipeline.metrics.empty import Convention
from pipeline.metrics.organs import MetricSettings

#: The one model of such a comparison.
PREDICTION = "prediction"
#: Both sides are on one grid if no corner is off by more than this share of a voxel: header rounding, no shift.
_ROUNDING = 0.1

Spacing = tuple[float, ...]


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        spacing: mm along each axis, for files that hold none.
        convention: Rule for empty masks.
        tolerances: Of surface Dice.
    """

    spacing: Spacing | None
    convention: Convention
    tolerances: tuple[float, ...]


@dataclass
class Pairs:
    """The scans of two sides, measured one by one.

    Attributes:
        sides: Predictions and references.
        matched: Scan of the references → scan of the predictions.
        organs: Value → organ, where a user named them.
        settings: How to measure.
        told: What was assumed of names, in lines.
    """

    sides: tuple[Source, Source]
    matched: Mapping[str, str]
    organs: Mapping[int, str]
    settings: Settings
    told: dict[str, None] = field(default_factory=dict)
    _seen: tuple[dict[str, None], dict[str, None]] = field(default_factory=lambda: ({}, {}))
    _kinds: list[tuple[LengthUnit, bool]] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """All scans of the references."""
        return self.sides[1].names()

    def measure(self) -> tuple[list[Cells], dict[str, str]]:
        """The rows of all scans, and why the others could not be measured.

        Raises:
            InputError: There is one scan and it cannot be measured, or the organs of both sides have no name in common.
        """
        rows: dict[str, list[Cells]] = {}
        failed: dict[str, str] = {}
        merged = [name for name in self.names if self._try(name, rows, failed, single=True)]
        # 1 here and 255 there are one organ only where neither side has any other.
        if merged and not self._single():
            for name in merged:
                self._try(name, rows, failed, single=False)
        self._check_names()
        for name in failed:
            rows[name] = self._missing(name)
        return [row for name in self.names for row in rows.get(name, [])], failed

    def _try(self, name: str, rows: dict[str, list[Cells]], failed: dict[str, str], *, single: bool) -> bool:
        """Measure one scan; whether its only organ was given one name on both sides."""
        try:
            first, second = self._read(name)
            first, second = self._by_table(first, second), self._by_table(second, first)
            first, second = (_spelt(side, self.organs.values()) for side in (first, second))
            first = _spelt(first, second.organs)
            for seen, side in zip(self._seen, (first, second), strict=True):
                seen |= dict.fromkeys(side.organs)
            merged = single and _only_names(list(first.organs), list(second.organs)) is not None
            if merged:
                first, second = _renamed(first, second)
            rows[name] = self._measured(_head(name), first, second)
        except InputError as error:
            if len(self.names) == 1:
                raise
            failed[name] = str(error)
            return False
        return merged

    def _read(self, name: str) -> tuple[ScanMasks, ScanMasks]:
        """Read both; a side that does not hold its grid is read on the other's."""
        if name not in self.matched:
            raise InputError("has no prediction", remedy="Files of two folders are matched by name.")
        ours, theirs, sides = self.matched[name], name, self.sides
        if sides[0].needs_other(ours) and sides[1].needs_other(theirs) and (common := _common(sides, ours, theirs)):
            truth = sides[1].read(theirs, self.organs, common)
            return sides[0].read(ours, self.organs, truth), replace(truth, whole=False)
        if sides[0].needs_other(ours):
            truth = sides[1].read(theirs, self.organs, None)
            return sides[0].read(ours, self.organs, truth), truth
        prediction = sides[0].read(ours, self.organs, None)
        return prediction, sides[1].read(theirs, self.organs, prediction if sides[1].needs_other(theirs) else None)

    def _by_table(self, side: ScanMasks, other: ScanMasks) -> ScanMasks:
        """A side that only numbers its organs, named by the table beside the other side's file."""
        if other.values:
            self.told["values are named by the table beside their file"] = None
        if not other.values or not side.organs or not all(name.isdecimal() for name in side.organs):
            return side
        self.told["organs that one side only numbers go by the names that a table gives to the other's values"] = None
        numbers = {
            name: [str(value) for value in values if str(value) in side.organs] for name, values in other.values.items()
        }
        named = {
            name: np.logical_or.reduce([side.organs[n] for n in found]) for name, found in numbers.items() if found
        }
        used = {number for found in numbers.values() for number in found}
        left = {name: mask for name, mask in side.organs.items() if name not in used}
        exclusive = side.exclusive and len(used) == sum(map(len, numbers.values()))
        return replace(side, organs=named | left, exclusive=exclusive)

    def _measured(self, head: Mapping[str, str], prediction: ScanMasks, reference: ScanMasks) -> list[Cells]:
        _check_grids(prediction, reference)
        found = sorted({*reference.organs, *prediction.organs}, key=_by_number)
        names = list(dict.fromkeys(self.organs.values())) or found or [UNNAMED]
        known = reference if reference.unit == "mm" else prediction
        mm, unit = _spacing(known.grid, known.unit, self.settings.spacing)
        self._kinds.append((unit, reference.grid.shape[2] == 1))
        overlapping = not (prediction.exclusive and reference.exclusive)
        first, second = (_label_map(side, names, reference.grid, overlapping) for side in (prediction, reference))
        settings = MetricSettings(tolerances=self.settings.tolerances, unit=unit, convention=self.settings.convention)
        rows = measured_rows(head, first, second, mm, dict.fromkeys(names, settings))
        if not reference.whole:
            # A share of all voxels is none of a grid that ends where the organs do.
            rows = [row | {"accuracy": "", "pixel_accuracy": ""} for row in rows]
        return rows

    def _missing(self, name: str) -> list[Cells]:
        """Rows of a scan that was not measured, of the organs that a user named, in the unit of the others."""
        unit, flat = self._kinds[0] if self._kinds else ("px", True)
        settings = {organ: MetricSettings(unit=unit) for organ in self.organs.values()}
        return missing_rows(_head(name), self.organs.values(), settings, flat=flat)

    def _single(self) -> bool:
        return _only_names(list(self._seen[0]), list(self._seen[1])) is not None

    def _check_names(self) -> None:
        """Refuse two sides whose organs have nothing in common, where one of them names what the other numbers."""
        ours, theirs = (list(seen) for seen in self._seen)
        for seen in (ours, theirs):
            if self.organs and seen and not set(seen) & set(self.organs.values()):
                raise InputError(
                    f"the masks of one side are called {', '.join(seen)}, and none {', '.join(self.organs.values())}",
                    where="--organs",
                    remedy="Give the names that the masks have, or leave --organs away.",
                )
        if self.organs or not ours or not theirs or self._single():
            return
        shared = {plain(name) for name in ours} & {plain(name) for name in theirs}
        if not shared and not (all(n.isdecimal() for n in ours) and all(n.isdecimal() for n in theirs)):
            raise InputError(
                f"the prediction's organs are {', '.join(ours)} and the reference's {', '.join(theirs)}",
                remedy="Name the values, as in --organs 1=liver,2=spleen.",
            )


def _common(sides: tuple[Source, Source], ours: str, theirs: str) -> ScanMasks | None:
    """An empty scan that holds what both sides say, where neither holds the whole scan; or ``None``."""
    objects = [*sides[1].segmentations(theirs), *sides[0].segmentations(ours)]
    if sides[0].segmentations(ours) and sides[1].segmentations(theirs):
        return shared_grid(objects)
    first, second = sides[0].stacked(ours), sides[1].stacked(theirs)
    if first is None or second is None:
        return None
    return first if first.grid.shape[2] > second.grid.shape[2] else second


def _head(name: str) -> dict[str, str]:
    return {"scan_id": name, "patient_id": name, "model": PREDICTION}


def _spelt(side: ScanMasks, names: Iterable[str]) -> ScanMasks:
    """A side with its organs called as somebody else calls them, whatever their case, blanks and hyphens."""
    known = {plain(name): name for name in names}
    spelt = {known.get(plain(name), name): mask for name, mask in side.organs.items()}
    return replace(side, organs=spelt) if len(spelt) == len(side.organs) else side


def _only_names(ours: Sequence[str], theirs: Sequence[str]) -> str | None:
    """The one name of a single organ on both sides that are called differently; ``None`` where it is not so."""
    if len(ours) != 1 or len(theirs) != 1 or ours == theirs:
        return None
    plain = [name for name in (*ours, *theirs) if not name.isdecimal() and name != UNNAMED]
    return None if len(plain) > 1 else plain[0] if plain else UNNAMED


def _renamed(prediction: ScanMasks, reference: ScanMasks) -> tuple[ScanMasks, ScanMasks]:
    """Give a single organ on both sides one name: 1 here and 255 there is the same organ."""
    shared = _only_names(list(prediction.organs), list(reference.organs))
    first, second = (
        replace(side, organs={shared or UNNAMED: next(iter(side.organs.values()))}) for side in (prediction, reference)
    )
    return first, second


def _by_number(name: str) -> tuple[bool, int, str]:
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)


def _check_grids(prediction: ScanMasks, reference: ScanMasks) -> None:
    sizes = [" × ".join(str(n) for n in side.grid.shape) for side in (prediction, reference)]
    if sizes[0] != sizes[1]:
        raise InputError(f"the prediction is {sizes[0]} and the reference {sizes[1]}", remedy="Resample one of them.")
    if prediction.placed and reference.placed and not prediction.grid.same_place(reference.grid, _ROUNDING):
        raise InputError(
            "prediction and reference have one shape and lie in different places",
            remedy="Compare their affines; masks of one scan share its geometry.",
        )


def _spacing(grid: Grid, unit: LengthUnit, given: Spacing | None) -> tuple[Spacing, LengthUnit]:
    if given is None:
        return (grid.spacing, "mm") if unit == "mm" else ((1.0, 1.0, 1.0), "px")
    if unit == "mm":
        raise InputError(
            "the files hold their spacing, " + " × ".join(f"{s:.4g}" for s in grid.spacing) + " mm",
            remedy="Leave --spacing away, or mend the headers.",
        )
    if len(given) < 3 and grid.shape[2] > 1:
        raise InputError("the masks are volumes", where="--spacing", remedy="Give mm along three axes.")
    return (*given, 1.0)[:3], "mm"


def _label_map(side: ScanMasks, names: Sequence[str], grid: Grid, overlapping: bool) -> LabelMap:
    masks = {name: side.organs.get(name, np.zeros(grid.shape, bool)) for name in names}
    return LabelMap.from_masks(masks, grid.affine, names, overlapping=overlapping, ignore=side.ignore)
