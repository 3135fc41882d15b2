"""Rows per second and peak memory of encoding, decoding, converting and measuring files of masks.

Run: ``python tests/benchmarks/rle_stream.py [--rows 1000000] [--chexmask 100000] [--pictures 10000]``. Each step is a
process of its own, so that its peak memory is its own; rows per second of its processor time do not suffer from what
else the machine does. Masks are made once and written again and again under new ids, so that making them
does not count.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.core.labels import LabelMap
from pipeline.formats.rle import EntryReader, RleTable, write_entries, write_masks
from pipeline.formats.rle.convert import convert, stats
from pipeline.formats.rle.pictures import file_entries, mask_files, unpack


def ellipse(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    middle, radii = rng.uniform(0.3, 0.7, 2) * (height, width), rng.uniform(0.1, 0.3, 2) * (height, width)
    return ((y - middle[0]) / radii[0]) ** 2 + ((x - middle[1]) / radii[1]) ** 2 <= 1


def label_maps(count: int, side: int, organs: tuple[str, ...]) -> Iterator[tuple[str, LabelMap, str]]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(16):
        masks = {organ: ellipse(side, side, rng)[:, :, None] for organ in organs}
        made.append(LabelMap.from_masks(masks, np.eye(4), organs, overlapping=True))
    for number in range(count):
        yield f"image{number}", made[number % len(made)], "px"


def encode(path: str, count: str, side: str, dialect: str) -> int:
    organs = ("Left Lung", "Right Lung", "Heart") if dialect == "chexmask" else ("heart",)
    return write_masks(path, label_maps(int(count), int(side), organs), dialect)


def chexmask(path: str, count: str) -> int:
    """A CheXmask-like file of 1024² pictures; cells are encoded once and repeated."""
    head = Path(path).with_suffix(".head.csv")
    write_masks(head, label_maps(16, 1024, ("Left Lung", "Right Lung", "Heart")), "chexmask")
    header, *rows = head.read_text().splitlines()
    cells = [row.split(",", 1)[1] for row in rows]
    with open(path, "w") as handle:
        handle.write(header + "\n")
        for number in range(int(count)):
            handle.write(f"image{number},{cells[number % len(cells)]}\n")
    head.unlink()
    return int(count)


def paint(path: str, dialect: str, side: str) -> int:
    reader = EntryReader(path, dialect, size=(int(side), int(side)))
    return sum(bool(entry.runs.paint().any()) for _, entry in reader.entries())


def pictures(path: str, dialect: str, out: str) -> int:
    return sum(1 for _ in unpack(EntryReader(path, dialect), Path(out)))


def files(folder: str, out: str) -> int:
    paths = mask_files([Path(folder)])
    return write_entries(out, file_entries(paths, {}, "row"), "organseg")


def turn(path: str, old: str, out: str, new: str, side: str) -> int:
    return convert(EntryReader(path, old, size=(int(side), int(side))), out, new)


def measure(path: str, dialect: str, out: str, side: str) -> int:
    return stats(EntryReader(path, dialect, size=(int(side), int(side))), out)


def lookup(path: str) -> int:
    """Index a file and take one image out of it, as ingestion does."""
    table = RleTable(path)
    name = table.ids()[-1]
    return len(table.cells(name))


STEPS = {
    "encode": encode,
    "chexmask": chexmask,
    "decode": paint,
    "convert": turn,
    "stats": measure,
    "pictures": pictures,
    "files": files,
    "lookup": lookup,
}


def step(label: str, rows: int, *words: object) -> None:
    """Run one step in a new process and print its line."""
    command = [sys.executable, __file__, "--step", *(str(word) for word in words)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    count, seconds, work, peak = int(output[0]), float(output[1]), float(output[2]), float(output[3])
    print(
        f"{label:44} {rows:9,d} rows {count:9,d} masks {seconds:7.1f} s {rows / seconds:8,.0f} rows/s "
        f"{rows / work:8,.0f} rows/cpu-s {peak:5.0f} MiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--chexmask", type=int, default=100_000)
    parser.add_argument("--pictures", type=int, default=10_000, help="rows that become PNG files")
    parser.add_argument("--side", type=int, default=64, help="rows and columns of the many pictures")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        begin, work = time.perf_counter(), time.process_time()
        count = STEPS[options.step[0]](*options.step[1:])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(count, time.perf_counter() - begin, time.process_time() - work, peak)
        return
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        n, a = options.rows, options.side
        ours, kaggle, siim, wide = (here / name for name in ("a.csv", "k.csv.gz", "s.parquet", "c.csv"))
        step(f"encode {a}² to organseg csv", n, "encode", ours, n, a, "organseg")
        step("decode organseg csv", n, "decode", ours, "organseg", a)
        step("index organseg csv, one image", n, "lookup", ours)
        step("stats organseg csv", n, "stats", ours, "organseg", here / "figures.csv", a)
        step("convert organseg csv → kaggle csv.gz", n, "convert", ours, "organseg", kaggle, "kaggle", a)
        step("convert kaggle csv.gz → siim parquet", n, "convert", kaggle, "kaggle", siim, "siim", a)
        step("convert siim parquet → chexmask csv", n, "convert", siim, "siim", wide, "chexmask", a)
        step("convert chexmask csv → organseg csv.gz", n, "convert", wide, "chexmask", here / "o.csv.gz", "organseg", a)
        for file in here.iterdir():
            file.unlink()
        p = options.pictures
        step(f"encode {a}² to organseg csv", p, "encode", ours, p, a, "organseg")
        step("decode organseg csv → PNG files", p, "pictures", ours, "organseg", here / "png")
        step("encode PNG files → organseg csv", p, "files", here / "png", here / "again.csv")
        m = options.chexmask
        step("make CheXmask-like 1024², three organs a row", m, "chexmask", here / "x.csv", m)
        step("stats CheXmask-like 1024², nothing painted", m, "stats", here / "x.csv", "chexmask", here / "s.csv", 1024)


if __name__ == "__main__":
    main()
