"""Chest radiographs of 2048² as DICOM, uncompressed and JPEG 2000: scans a minute and core, beside the bare decoder.

python tests/benchmarks/ingest_radiographs.py [--count 12]

The bare decoder (pydicom's, for JPEG 2000 OpenJPEG) reads the pixels of the same files and does nothing more; ingestion
reads, inverts, checks, measures and writes a compressed volume, in its worker.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from ingest_series import makers
from pydicom.pixels import pixel_array
from pydicom.uid import JPEG2000Lossless
from scipy.ndimage import gaussian_filter

from pipeline.ingest.alone import ingest_alone


def make(folder: Path, count: int, packed: bool) -> None:
    """Write 12-bit radiographs with the noise of a detector."""
    making = makers()
    folder.mkdir()
    draw = np.random.default_rng(0)
    smooth = gaussian_filter(draw.normal(size=(256, 256)), 12)
    smooth = np.kron((smooth - smooth.min()) / np.ptp(smooth), np.ones((8, 8)))
    for number in range(count):
        pixels = np.clip(smooth * 3000 + draw.normal(400, 15, smooth.shape), 0, 4095).astype(np.uint16)
        data = making.radiograph(pixels, PhotometricInterpretation="MONOCHROME1", PixelSpacing=[0.15, 0.15])
        if packed:
            data.compress(JPEG2000Lossless)
        data.save_as(folder / f"{number}.dcm", enforce_file_format=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=12)
    count = parser.parse_args().count
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, for ours and for the decoder
    print("transfer syntax     bare decoder s/scan   ingest s/scan   scans a minute and core")
    with tempfile.TemporaryDirectory() as name:
        for packed in (False, True):
            folder = Path(name) / f"in{packed}"
            make(folder, count, packed)
            start = time.process_time()
            for file in folder.iterdir():
                pixel_array(file, decoding_plugin="pylibjpeg" if packed else "")
            bare = (time.process_time() - start) / count
            before = os.times()
            outcomes = ingest_alone([folder], Path(name) / f"out{packed}", None)
            after = os.times()
            if sum(item.read for item in outcomes) != count:
                raise SystemExit("not all were read")
            spent = sum(after[:4]) - sum(before[:4])
            label = "JPEG 2000 lossless" if packed else "uncompressed"
            print(f"{label:20s} {bare:18.3f} {spent / count:15.3f} {60 * count / spent:25.0f}")


if __name__ == "__main__":
    main()
