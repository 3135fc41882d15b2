"""PNG, JPEG and TIFF: bits kept, colours understood, damage and bombs named."""

import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image

from pipeline.core.errors import InputError
from pipeline.core.scan import FRONTAL_AFFINE
from pipeline.core.study import Ingest
from pipeline.formats.pictures.reader import decoded_pixels, read_pixels
from pipeline.formats.table import read_scan_file, read_scans


@pytest.fixture
def draw():
    return np.random.default_rng(8)


def read(path, options, modality="xray"):
    return read_scan_file([path], modality, options)


def test_an_eight_bit_radiograph(tmp_path, options, draw):
    pixels = draw.integers(0, 256, (12, 20)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    scan = read(tmp_path / "x.png", options)
    np.testing.assert_array_equal(scan.voxels[0, :, :, 0], pixels.T)
    np.testing.assert_array_equal(scan.affine, FRONTAL_AFFINE)
    assert (scan.spacing_source, scan.voxels.dtype) == ("unknown", np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_kept(tmp_path, options, draw, suffix):
    pixels = draw.integers(0, 65536, (12, 20)).astype(np.uint16)
    if suffix == ".png":
        Image.fromarray(pixels).save(tmp_path / "x.png")
    else:
        tifffile.imwrite(tmp_path / "x.tif", pixels)
    scan = read(tmp_path / f"x{suffix}", options)
    assert scan.voxels.dtype == np.uint16
    np.testing.assert_array_equal(scan.voxels[0, :, :, 0], pixels.T)


def test_sixteen_bit_colour_is_kept(tmp_path, options, draw):
    pixels = draw.integers(0, 65536, (6, 5, 3)).astype(np.uint16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels, isVector=True), str(tmp_path / "x.png"))
    scan = read(tmp_path / "x.png", options, "photo")
    np.testing.assert_array_equal(scan.voxels[..., 0], pixels.transpose(2, 1, 0))
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="rgb")
    np.testing.assert_array_equal(read(tmp_path / "x.tif", options, "photo").voxels, scan.voxels)


def test_big_endian_and_float_tiff(tmp_path, options, draw):
    pixels = draw.integers(0, 65536, (6, 5)).astype(">u2")
    tifffile.imwrite(tmp_path / "x.tif", pixels, byteorder=">")
    np.testing.assert_array_equal(read(tmp_path / "x.tif", options).voxels[0, :, :, 0], pixels.T)
    tifffile.imwrite(tmp_path / "f.tif", pixels.astype(np.float32) / 7)
    assert read(tmp_path / "f.tif", options).voxels.dtype == np.float32


def test_a_grey_radiograph_saved_in_colour_has_one_channel(tmp_path, options, draw):
    pixels = draw.integers(0, 256, (6, 5)).astype(np.uint8)
    Image.fromarray(pixels).convert("RGB").save(tmp_path / "x.png")
    scan = read(tmp_path / "x.png", options)
    np.testing.assert_array_equal(scan.voxels[0, :, :, 0], pixels.T)
    assert "colour" not in scan.notes


def test_a_radiograph_in_true_colour_becomes_luma_and_says_so(tmp_path, options, draw):
    pixels = draw.integers(0, 256, (6, 5, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    scan = read(tmp_path / "x.png", options)
    np.testing.assert_allclose(scan.voxels[0, :, :, 0].T, pixels @ np.array([0.299, 0.587, 0.114]), atol=0.51)
    assert scan.notes["colour"].startswith("luma")


def test_photographs_have_three_channels(tmp_path, options, draw):
    colour = draw.integers(0, 256, (6, 5, 3)).astype(np.uint8)
    Image.fromarray(colour).save(tmp_path / "c.png")
    np.testing.assert_array_equal(read(tmp_path / "c.png", options, "photo").voxels[..., 0], colour.transpose(2, 1, 0))
    Image.fromarray(colour[..., 0]).save(tmp_path / "g.png")
    grey = read(tmp_path / "g.png", options, "photo").voxels[..., 0]
    np.testing.assert_array_equal(grey, np.repeat(colour[..., :1], 3, 2).transpose(2, 1, 0))
    Image.fromarray(colour).quantize(8).save(tmp_path / "p.png")
    assert read(tmp_path / "p.png", options, "photo").voxels.shape == (3, 5, 6, 1)


def test_a_photograph_is_turned_as_its_camera_says(tmp_path, options):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "x.jpg", exif=exif, quality=95)
    scan = read(tmp_path / "x.jpg", options, "photo")
    assert scan.shape == (40, 60, 1)
    assert scan.voxels[0, 38, 30, 0] > 200
    assert scan.voxels[0, 2, 30, 0] < 50


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_picture_cut_short_is_named(tmp_path, options, draw, suffix):
    Image.fromarray(draw.integers(0, 256, (60, 50)).astype(np.uint8)).save(tmp_path / f"x{suffix}")
    raw = (tmp_path / f"x{suffix}").read_bytes()
    (tmp_path / f"x{suffix}").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError):
        read(tmp_path / f"x{suffix}", options)


def test_a_png_that_promises_a_million_by_a_million_is_refused(tmp_path, options):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 1_000_000, 1_000_000, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    with pytest.raises(InputError, match="header promises"):
        read(tmp_path / "x.png", options)


def test_several_pages_are_refused(tmp_path, options):
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    with pytest.raises(InputError, match="3 pages"):
        read(tmp_path / "x.tif", options)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"%PDF-1.4", "PDF"), (b"GIF89a", "GIF"), (b"hello", "text"), (b"", "empty"), (b"\x00\x01\x02", "unknown kind")],
)
def test_other_files_are_named(tmp_path, options, content, words):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read(tmp_path / "x.png", options)


def test_without_a_modality_colour_tells_photographs_from_radiographs(tmp_path, options, draw):
    colour = draw.integers(0, 256, (6, 5, 3)).astype(np.uint8)
    Image.fromarray(colour).save(tmp_path / "c.png")
    Image.fromarray(colour[..., 0]).save(tmp_path / "g.png")
    assert [item.read().modality for item in read_scans(tmp_path, None, options)] == ["photo", "xray"]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [None, "zlib"])
def test_white_is_zero_is_turned_over_whatever_the_depth(tmp_path, options, kind, order, packed):
    bright = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (20, 30), endpoint=True).astype(kind)
    stored = np.iinfo(kind).max - bright
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, stored, photometric="miniswhite", byteorder=order, compression=packed)
    np.testing.assert_array_equal(read_pixels(path, options)[..., 0], bright)


@pytest.mark.parametrize("suffix", ["gif", "bmp", "png", "jpg", "tif"])
def test_a_picture_cut_anywhere_is_read_or_refused(tmp_path: Path, suffix: str) -> None:
    """Pillow raised struct.error for a GIF that ends where its second picture begins."""
    whole = tmp_path / f"whole.{suffix}"
    first, second = (
        Image.fromarray((np.arange(48 * 40).reshape(40, 48) % step * 30).astype(np.uint8)) for step in (7, 5)
    )
    first.save(whole, **({"save_all": True, "append_images": [second]} if suffix == "gif" else {}))
    raw = whole.read_bytes()
    for length in [*range(min(len(raw), 900)), *range(900, len(raw), 37)]:
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(raw[:length])
        with suppress(InputError):
            decoded_pixels(str(path), Ingest().model_dump_json(), False)
