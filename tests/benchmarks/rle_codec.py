"""Encoding and decoding a 1024² mask beside pycocotools' C code, pair by pair.

Run: ``python tests/benchmarks/rle_codec.py [--pairs 60] [--side 1024]``. Each pair times both on one mask, one right
after the other, in turns; the figure is the median of the pairs' ratios (ours ÷ theirs), so that a busy machine slows
both. Masks come in both layouts of memory: by rows, as numpy has them, and by columns, as pycocotools wants them;
what it takes to turn them counts.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
from pycocotools import mask as peer

from pipeline.formats.rle import DIALECTS, decode, encode


def blobs(side: int, rng: np.random.Generator) -> np.ndarray:
    """Three leaning ellipses."""
    y, x = np.mgrid[:side, :side] / side
    mask = np.zeros((side, side), bool)
    for _ in range(3):
        middle, radii, angle = rng.uniform(0.25, 0.75, 2), rng.uniform(0.08, 0.28, 2), rng.uniform(0, np.pi)
        u = (y - middle[0]) * np.cos(angle) + (x - middle[1]) * np.sin(angle)
        v = -(y - middle[0]) * np.sin(angle) + (x - middle[1]) * np.cos(angle)
        mask |= (u / radii[0]) ** 2 + (v / radii[1]) ** 2 <= 1
    return mask


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def ratio(ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> tuple[float, float, float]:
    """Median milliseconds of ours and theirs, and the median of the pairs' ratios."""
    ours(), theirs()
    times = []
    for number in range(pairs):
        if number % 2:
            first = timed(ours)
            times.append((first, timed(theirs)))
        else:
            second = timed(theirs)
            times.append((timed(ours), second))
    a, b = np.array(times).T * 1e3
    return float(np.median(a)), float(np.median(b)), float(np.median(a / b))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--side", type=int, default=1024)
    options = parser.parse_args()
    # pycocotools warns at every call with numpy 2, which costs it time that is not the codec's.
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    masks = {"blobs": blobs(options.side, rng), "noise": rng.random((options.side, options.side)) < 0.5}
    print(f"{options.side}², {options.pairs} pairs; milliseconds, and ratio ours ÷ pycocotools (median of pairs)")
    print(f"{'mask':6} {'memory':8} {'dialect':10} {'encode':>21} {'decode':>21} {'both':>6}")
    for kind, mask in masks.items():
        for memory in ("rows", "columns"):
            ours = mask if memory == "rows" else np.asfortranarray(mask)
            bytes_ = ours.view(np.uint8)
            theirs = peer.encode(np.asfortranarray(bytes_))
            pairs = options.pairs if kind == "blobs" else max(options.pairs // 10, 5)
            for name in ("coco", "coco-list", "kaggle", "siim", "chexmask", "organseg"):
                assert name in DIALECTS
                text = encode(ours, name)
                encoding = ratio(
                    lambda m=ours, n=name: encode(m, n), lambda b=bytes_: peer.encode(np.asfortranarray(b)), pairs
                )
                decoding = ratio(
                    lambda t=text, n=name: decode(t, options.side, options.side, n),
                    lambda r=theirs: peer.decode(r),
                    pairs,
                )

                def roundtrip(m: np.ndarray = ours, n: str = name) -> np.ndarray:
                    return decode(encode(m, n), options.side, options.side, n)

                def peers(b: np.ndarray = bytes_) -> np.ndarray:
                    return peer.decode(peer.encode(np.asfortranarray(b)))

                both = ratio(roundtrip, peers, pairs)
                cells = [f"{a:6.2f} /{b:6.2f} {r:6.2f}" for a, b, r in (encoding, decoding)]
                print(f"{kind:6} {memory:8} {name:10} {cells[0]:>21} {cells[1]:>21} {both[2]:6.2f}", flush=True)


if __name__ == "__main__":
    main()
