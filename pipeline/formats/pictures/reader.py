"""Pictures: PNG, JPEG, TIFF, GIF and BMP files as scans one voxel thick, 8 to 16 bits kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from pipeline.core.errors import DAMAGED_PICTURE, InputError
from pipeline.core.limits import check_size
from pipeline.core.scan import FRONTAL_AFFINE, Array, Modality, Scan
from pipeline.core.study import Ingest
from pipeline.formats.decoders import Decoded, decode
from pipeline.formats.exact import smallest_exact

#: Weights of red, green and blue in luma, ITU-R BT.601.
LUMA = np.array([0.299, 0.587, 0.114])
_PNG = b"\x89PNG"
_TIFF = {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}
_EXIF_ORIENTATION = 0x0112
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0


def read_raster(path: Path, modality: Modality, options: Ingest) -> Scan:
    """Read a picture.

    A radiograph has one channel: equal colour channels are one, differing ones become luma, which ``notes`` record;
    where the study names as many channels as the picture has, they are those. A photograph has three: grey is repeated.
    Millimetres are unknown, whatever resolution the file claims: that is the printer's.

    Returns:
        ``(C, X, Y, 1)``, X along columns and Y along rows.

    Raises:
        InputError: The file is damaged, promises too much, or holds several pages.
    """
    pixels = read_pixels(path, options)
    notes: dict[str, Any] = {"format": "raster"}
    if modality == "photo":
        if pixels.shape[2] < 3:
            notes["colour"] = "grey, repeated"
        pixels = np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[..., :3]
    elif len(options.channels) == pixels.shape[2] > 1:
        notes["channels"] = "colours are the study's channels"
    else:
        pixels, how = grey(pixels)
        if how != "grey":
            notes["colour"] = how
    voxels = pixels.transpose(2, 1, 0)[..., None]
    return Scan(np.ascontiguousarray(voxels), FRONTAL_AFFINE.copy(), modality, "unknown", notes=notes)


def read_pixels(path: Path, options: Ingest, *, palette_as_index: bool = False) -> NDArray[Any]:
    """Pixels of a picture, ``(rows, columns, samples)``, turned upright by the EXIF orientation where there is one.

    Args:
        path: The file.
        options: Bounds.
        palette_as_index: Give the numbers of a palette picture rather than its colours.

    Raises:
        InputError: As in :func:`read_raster`.
    """
    if _starts_with(path, {_PNG}):
        # A worker would cost a picture in ten of the throughput. Deep colours go there on their own.
        return _pixels(path, options, palette_as_index)
    about = {"path": str(path), "options": options.model_dump_json(), "palette_as_index": palette_as_index}
    return decode("pipeline.formats.pictures.reader:decoded_pixels", about)[0]


def decoded_pixels(path: str, options: str, palette_as_index: bool) -> Decoded:
    """:func:`read_pixels` with its options as JSON."""
    return _pixels(Path(path), Ingest.model_validate_json(options), palette_as_index), {}


def _pixels(path: Path, options: Ingest, palette_as_index: bool) -> NDArray[Any]:
    Image.MAX_IMAGE_PIXELS = None  # check_size bounds what is read, with the limit of the study
    try:
        with Image.open(path) as image:
            check_size((image.height, image.width, len(image.getbands())), 2, options, path.stat().st_size)
            pages = getattr(image, "n_frames", 1)
            if pages > 1:
                raise InputError(f"holds {pages} pages", remedy="Give one picture a file.")
            if _deeper_than_pillow(image, path):
                return _through_itk(path)
            image.load()
            tags = image.tag_v2 if image.format == "TIFF" else {}  # type: ignore[attr-defined]
            if image.getexif().get(_EXIF_ORIENTATION, 1) != 1:
                image = ImageOps.exif_transpose(image)  # type: ignore[assignment]
            return _turned_over(_samples(image, palette_as_index), tags)
    except UnidentifiedImageError:
        if _starts_with(path, _TIFF):
            return _through_itk(path)
        raise InputError("is not a picture that can be read") from None
    except DAMAGED_PICTURE as error:
        raise InputError(f"the picture is damaged or cut short ({_short(error, path)})") from None


def grey(pixels: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """One channel of a picture ``(rows, columns, samples)``, and how it was come by."""
    if pixels.shape[2] == 1:
        return pixels, "grey"
    if pixels.shape[2] == 2:
        return pixels[..., :1], "grey with transparency"
    red, green, blue = (pixels[..., i] for i in range(3))
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return pixels[..., :1], "grey"
    luma = np.rint(pixels[..., :3].astype(np.float64) @ LUMA)
    return luma.astype(pixels.dtype)[..., None], "luma of a colour picture"


def _samples(image: Image.Image, palette_as_index: bool) -> NDArray[Any]:
    if image.mode == "P" and not palette_as_index:
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode == "PA" and not palette_as_index:
        image = image.convert("RGBA")
    elif image.mode in {"CMYK", "YCbCr", "LAB", "HSV"}:
        image = image.convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    pixels = np.asarray(image)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if image.mode == "I" and pixels.size and pixels.min() >= 0 and pixels.max() <= 65535:
        pixels = pixels.astype(np.uint16)  # Pillow reads some 16-bit files into 32 bits
    return smallest_exact(pixels)


def _deeper_than_pillow(image: Image.Image, path: Path) -> bool:
    """Whether this is 16-bit colour, which Pillow cuts to 8 bits without a word."""
    if image.mode not in {"RGB", "RGBA", "LA"}:
        return False
    if image.format == "TIFF":
        depths = image.tag_v2.get(_BITS_PER_SAMPLE, (8,))  # type: ignore[attr-defined]
        return max(depths) > 8
    if image.format != "PNG":
        return False
    with open(path, "rb") as stream:
        return stream.read(25)[24:25] == b"\x10"


def _turned_over(pixels: NDArray[Any], tags: Mapping[int, Any]) -> NDArray[Any]:
    """A TIFF's samples with bright for high, against the whole range of its bits, where its zeros are white.

    Pillow turns such pictures over where they have 8 bits or less; deeper ones are left to us, by Pillow and by ITK.
    """
    if tags.get(_PHOTOMETRIC) != _WHITE_IS_ZERO or pixels.dtype == np.uint8:
        return pixels
    top = (1 << max(tags.get(_BITS_PER_SAMPLE, (16,)))) - 1
    if pixels.dtype.kind != "u" or pixels.max() > top:
        raise InputError("the picture's zeros are white, and it is not of whole numbers from 0 up")
    return pixels.dtype.type(top) - pixels


def _starts_with(path: Path, magics: set[bytes]) -> bool:
    """Whether the first four bytes are one of these; of a file that cannot be opened they are not."""
    try:
        with open(path, "rb") as stream:
            return stream.read(4) in magics
    except OSError:
        return False


def _through_itk(path: Path) -> NDArray[Any]:
    """Pictures deeper than Pillow reads them."""
    return decode("pipeline.formats.pictures.reader:decoded_by_itk", {"path": str(path)})[0]


def decoded_by_itk(path: str) -> Decoded:
    """``(rows, columns, samples)`` of a PNG or TIFF file.

    Raises:
        InputError: It is damaged, or holds several pages.
    """
    import SimpleITK

    try:
        driver = "PNGImageIO" if _starts_with(Path(path), {_PNG}) else "TIFFImageIO"
        image = SimpleITK.ReadImage(path, imageIO=driver)
    except RuntimeError:
        raise InputError("the picture is damaged or of a kind that cannot be read") from None
    pixels: Array = SimpleITK.GetArrayFromImage(image)
    if driver == "TIFFImageIO":
        pixels = _turned_over(pixels, _tiff_tags(Path(path)))
    if image.GetDimension() != 2:
        raise InputError(f"holds {pixels.shape[0]} pages", remedy="Give one picture a file.")
    return smallest_exact(pixels if pixels.ndim == 3 else pixels[..., None]), {}


def _tiff_tags(path: Path) -> Mapping[int, Any]:
    """The tags of a TIFF that Pillow does not open."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(16)
            if head.startswith(b"MM\0+"):
                raise InputError("is a big-endian BigTIFF", remedy="Save it as an ordinary TIFF.")
            tags = TiffImagePlugin.ImageFileDirectory_v2(head if head[2:3] == b"+" else head[:8])
            stream.seek(tags.next)
            tags.load(stream)
            return tags
    except DAMAGED_PICTURE as error:
        raise InputError(f"the picture's tags are damaged ({type(error).__name__})") from None


def _short(error: Exception, path: Path) -> str:
    """The decoder's words without the file's name."""
    return str(error).replace(str(path), "the file").replace(path.name, "the file").strip()[:120] or "unreadable"


def is_colour(path: Path, options: Ingest) -> bool:
    """Whether a picture's channels differ."""
    return grey(read_pixels(path, options))[1].startswith("luma")
