"""Detection never accepts a wrong reading; where nothing decides, it says so."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.labels import LabelMap
from pipeline.formats.rle import DIALECTS, RleTable, write_masks
from pipeline.formats.rle.detection import detect

from .phantoms import COLUMNS, DECLARED, SHAPES, SIZES, random_mask, random_size, reference_text, write_reference

EVERY = (*COLUMNS, *DECLARED)


def sweep(folder: Path, count: int, seed: int) -> Counter[tuple[str, str]]:
    """Outcomes of random files of every dialect, by what their pictures' sides are like."""
    rng = np.random.default_rng(seed)
    path = folder / "masks.csv"
    outcomes: Counter[tuple[str, str]] = Counter()
    for _ in range(count):
        dialect, sides, kind = str(rng.choice(EVERY)), str(rng.choice(SIZES)), str(rng.choice(SHAPES))
        height, width = random_size(rng, sides)
        write_reference(path, dialect, [random_mask(rng, height, width, kind) for _ in range(rng.integers(1, 7))])
        found = detect(path, size=(height, width)).dialect
        if dialect in DECLARED:
            outcomes["declared", "right" if found == dialect else f"wrong: {found} for {dialect}"] += 1
        elif found is None:
            outcomes[sides, "abstained"] += 1
        else:
            right = DIALECTS[found].reading == DIALECTS[dialect].reading
            outcomes[sides, "right" if right else f"wrong: {found} for {dialect}, {kind}, {height}×{width}"] += 1
    return outcomes


def wrong(outcomes: Counter[tuple[str, str]]) -> list[tuple[str, str]]:
    return [key for key in outcomes if key[1].startswith("wrong")]


def test_no_wrong_reading_is_accepted(tmp_path: Path) -> None:
    outcomes = sweep(tmp_path, 200, 11)
    assert not wrong(outcomes)
    assert outcomes["oblong", "right"] > 0.25 * sum(n for key, n in outcomes.items() if key[0] == "oblong")


@pytest.mark.slow
def test_no_wrong_reading_is_accepted_among_thousands(tmp_path: Path) -> None:
    outcomes = sweep(tmp_path, 6000, 12)
    total = sum(outcomes.values())
    print({f"{sides} {outcome}": f"{n} ({n / total:.1%})" for (sides, outcome), n in sorted(outcomes.items())})
    assert total == 6000
    assert not wrong(outcomes)
    for sides, most in (("square", 0.86), ("nearly", 0.74), ("oblong", 0.58)):
        assert outcomes[sides, "abstained"] < most * sum(n for key, n in outcomes.items() if key[0] == sides)


@pytest.mark.parametrize("dialect", sorted(COLUMNS))
def test_oblong_pictures_of_ordinary_objects_are_detected(tmp_path: Path, dialect: str) -> None:
    rng = np.random.default_rng(2)
    masks = [random_mask(rng, 90, 160, "ellipses") for _ in range(8)]
    write_reference(tmp_path / "masks.csv", dialect, masks)
    found = detect(tmp_path / "masks.csv", size=(90, 160))
    assert found.dialect is not None
    assert DIALECTS[found.dialect].reading == DIALECTS[dialect].reading
    assert found.margin > 0.5


@pytest.mark.parametrize("dialect", ["kaggle", "uw-madison", "chexmask", "vesuvius"])
def test_square_pictures_need_more_than_themselves(tmp_path: Path, dialect: str) -> None:
    rng = np.random.default_rng(3)
    write_reference(tmp_path / "masks.csv", dialect, [random_mask(rng, 90, 90, "ellipses") for _ in range(8)])
    found = detect(tmp_path / "masks.csv", size=(90, 90))
    assert found.dialect is None
    assert "nothing tells" in found.reason


@pytest.mark.parametrize("dialect", ["kaggle", "vesuvius"])
def test_pictures_decide_where_masks_cannot(tmp_path: Path, dialect: str) -> None:
    rng = np.random.default_rng(4)
    masks = [random_mask(rng, 120, 120, "ellipses") for _ in range(6)]
    write_reference(tmp_path / "masks.csv", dialect, masks)
    pictures = {}
    for number, mask in enumerate(masks):
        pictures[f"image{number}"] = tmp_path / f"image{number}.png"
        noisy = 90 + 80 * mask + rng.normal(0, 12, mask.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(pictures[f"image{number}"])
    found = detect(tmp_path / "masks.csv", images=tmp_path)
    assert found.dialect is not None
    assert DIALECTS[found.dialect].reading == DIALECTS[dialect].reading
    for path in pictures.values():
        Image.fromarray(rng.integers(0, 255, (120, 120), np.uint8)).save(path)
    assert detect(tmp_path / "masks.csv", images=tmp_path).dialect is None


@pytest.mark.parametrize("dialect", ["kaggle", "vesuvius"])
def test_areas_beside_the_masks_are_heeded(tmp_path: Path, dialect: str) -> None:
    rng = np.random.default_rng(5)
    masks = [random_mask(rng, 60, 100, "ellipses") for _ in range(5)]
    for off, accepted in ((0, True), (7, False)):
        with open(tmp_path / "masks.csv", "w", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow([*COLUMNS[dialect], "area"])
            for number, mask in enumerate(masks):
                writer.writerow([number, reference_text(mask, dialect), int(mask.sum()) + off])
        found = detect(tmp_path / "masks.csv", size=(60, 100))
        assert (found.dialect is not None) == accepted


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a", ""), ("b", "")], "all masks are empty"),
        ([("a", "apples")], "no column holds run lengths"),
        ([("a", "5 3")], "too few"),
        ([("a", "1 1 5 1 9 1 30 1"), ("b", "1 1 5 1 9 1 13 1 17 1")], "no dialect reads every mask"),
    ],
)
def test_files_that_say_nothing(tmp_path: Path, rows: list[tuple[str, str]], words: str) -> None:
    path = tmp_path / "masks.csv"
    path.write_text("id,rle\n" + "".join(f"{a},{b}\n" for a, b in rows))
    found = detect(path, size=(4, 5))
    assert found.dialect is None
    assert words in found.reason


def test_a_file_of_unknown_size_is_not_accepted(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    path = tmp_path / "masks.csv"
    write_reference(path, "kaggle", [random_mask(rng, 60, 100, "ellipses") for _ in range(5)])
    found = detect(path)
    assert found.dialect is None
    assert "--size" in found.reason
    assert found.facts()["ranking"][0]["lawful"] == 1


def test_starts_from_0_are_seen_where_they_show(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    path = tmp_path / "masks.csv"
    masks = [random_mask(rng, 60, 100, "border") for _ in range(8)]
    with open(path, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "rle"])
        writer.writerows((number, reference_text(mask, "organseg")) for number, mask in enumerate(masks))
    assert detect(path, size=(60, 100)).dialect is None


def test_start_and_end_pairs_are_no_dialect(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    path = tmp_path / "masks.csv"
    with open(path, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "rle"])
        for number in range(5):
            text = reference_text(random_mask(rng, 60, 100, "ellipses"), "vesuvius").split()
            pairs = [(int(a), int(a) + int(b) - 1) for a, b in zip(text[0::2], text[1::2], strict=True)]
            writer.writerow([number, " ".join(f"{a} {b}" for a, b in pairs)])
    assert detect(path, size=(60, 100)).dialect is None


@pytest.mark.parametrize("dialect", ["organseg", "coco", "coco-list"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_files_that_name_their_dialect_are_believed(tmp_path: Path, dialect: str, suffix: str) -> None:
    mask = random_mask(np.random.default_rng(9), 30, 30, "ellipses")[:, :, None]
    labels = LabelMap.from_masks({"heart": mask}, np.eye(4), ["heart"], overlapping=True)
    write_masks(tmp_path / f"m{suffix}", [("a", labels, "px")], dialect)
    found = detect(tmp_path / f"m{suffix}")
    assert found.declared
    assert np.array_equal(RleTable(tmp_path / f"m{suffix}").masks("a", ["heart"], (30, 30, 1))["heart"], mask)


def test_lists_of_counts_in_brackets(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    with open(tmp_path / "masks.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["image_id", "rle"])
        writer.writerows(
            (number, reference_text(random_mask(rng, 50, 60, "ellipses"), "coco-list")) for number in range(4)
        )
    assert detect(tmp_path / "masks.csv", size=(50, 60)).dialect == "coco-list"
    assert detect(tmp_path / "masks.csv", size=(60, 50)).dialect is None
