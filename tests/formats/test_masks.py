"""Masks in every form that people have, on the grid of their scan, or refused with the reason."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from pipeline.core.errors import InputError
from pipeline.core.study import Ingest, Organ
from pipeline.formats.masks import read_masks
from pipeline.formats.pictures.masks import by_colour, by_values, one_organ
from pipeline.formats.table import read_scan_file

LUNGS = {"left": Organ(), "right": Organ(), "heart": Organ()}
COLOURED = {"left": Organ(color="#ff0000"), "right": Organ(color="#00ff00"), "heart": Organ(color="#0000ff")}


@pytest.fixture
def picture(tmp_path, options):
    """A radiograph of 60 columns and 40 rows."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60)).astype(np.uint8)).save(tmp_path / "scan.png")
    return read_scan_file([tmp_path / "scan.png"], "xray", options)


@pytest.fixture
def truth():
    """Index picture, ``(rows, columns)``."""
    index = np.zeros((40, 60), np.uint8)
    index[5:30, 4:20] = 1
    index[8:33, 36:55] = 2
    index[20:38, 22:34] = 3
    return index


def masks_of(labels):
    return {organ: labels.mask(organ)[..., 0].T for organ in labels.organs}


def check(labels, truth):
    for value, organ in enumerate(LUNGS, 1):
        np.testing.assert_array_equal(masks_of(labels)[organ], truth == value)


def test_an_index_image(tmp_path, options, picture, truth):
    Image.fromarray(truth).save(tmp_path / "m.png")
    check(read_masks(tmp_path / "m.png", picture, LUNGS, options), truth)


def test_an_index_image_with_a_palette_of_any_colours(tmp_path, options, picture, truth):
    image = Image.fromarray(truth, "L").convert("P")
    image.putpalette([0, 0, 0, 9, 9, 9, 77, 1, 2, 250, 250, 0])
    image.save(tmp_path / "m.png")
    check(read_masks(tmp_path / "m.png", picture, LUNGS, options), truth)


def test_values_of_the_study(tmp_path, options, picture, truth):
    organs = {"left": Organ(value=20), "right": Organ(value=7), "heart": Organ(value=200)}
    Image.fromarray(np.array([0, 20, 7, 200], np.uint8)[truth]).save(tmp_path / "m.png")
    check(read_masks(tmp_path / "m.png", picture, organs, options), truth)


def test_a_value_that_is_no_organ_is_refused_and_background_values_are_not(tmp_path, options, picture, truth):
    truth[0, :5] = 9
    Image.fromarray(truth).save(tmp_path / "m.png")
    with pytest.raises(InputError, match=r"no organ of the study: 9 \(5 voxels\)"):
        read_masks(tmp_path / "m.png", picture, LUNGS, options)
    passed = options.model_copy(update={"background": [0, 9]})
    read_masks(tmp_path / "m.png", picture, LUNGS, passed)
    ignored = read_masks(tmp_path / "m.png", picture, LUNGS, options.model_copy(update={"ignore": [9]}))
    assert ignored.ignored().sum() == 5


def test_one_file_an_organ_with_grey_borders_and_overlap(tmp_path, options, picture, truth):
    wide = {organ: truth == value for value, organ in enumerate(LUNGS, 1)}
    wide["heart"] = wide["heart"] | (truth == 1)
    for organ, mask in wide.items():
        grey = Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))
        grey.save(tmp_path / f"{organ}.png")
    files = {organ: tmp_path / f"{organ}.png" for organ in LUNGS}
    labels = read_masks(files, picture, LUNGS, options, overlapping=True)
    for organ, mask in wide.items():
        assert (masks_of(labels)[organ] != mask).sum() <= 4  # the corners
    notes = {}
    read_masks(files, picture, LUNGS, options, notes=notes)
    assert notes["overlap_voxels"] > 300


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 128)])
def test_one_organ_of_two_values(tmp_path, options, picture, truth, values):
    Image.fromarray(np.where(truth == 1, values[1], values[0]).astype(np.uint8)).save(tmp_path / "m.png")
    labels = read_masks({"left": tmp_path / "m.png"}, picture, LUNGS, options)
    np.testing.assert_array_equal(masks_of(labels)["left"], truth == 1)
    assert labels.annotated == {"left"}


def test_jpeg_masks(tmp_path, options, picture, truth):
    Image.fromarray(((truth == 1) * 255).astype(np.uint8)).save(tmp_path / "m.jpg", quality=60)
    cat = {"cat": Organ()}
    for source in (tmp_path / "m.jpg", {"cat": tmp_path / "m.jpg"}):
        labels = read_masks(source, picture, cat, options)
        assert ((truth == 1) != labels.mask("cat")[..., 0].T).mean() < 0.01


def test_a_photograph_is_no_mask(tmp_path, options, picture):
    noise = np.random.default_rng(0).integers(0, 256, (40, 60)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="a picture, not a mask"):
        read_masks({"left": tmp_path / "m.png"}, picture, LUNGS, options)


def test_an_index_image_given_as_one_organ_is_refused(tmp_path, options, picture, truth):
    Image.fromarray(truth).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="4 different values"):
        read_masks({"left": tmp_path / "m.png"}, picture, LUNGS, options)


def colours(truth):
    return np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)[truth]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_palette_picture(tmp_path, options, picture, truth, mode):
    image = Image.fromarray(colours(truth))
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "m.png")
    check(read_masks(tmp_path / "m.png", picture, COLOURED, options), truth)


def test_smoothed_palette_borders_go_to_their_nearest_colour(tmp_path, options, picture, truth):
    image = Image.fromarray(colours(truth)).filter(ImageFilter.GaussianBlur(0.6))
    image.save(tmp_path / "m.png")
    found = masks_of(read_masks(tmp_path / "m.png", picture, COLOURED, options))
    for value, organ in enumerate(COLOURED, 1):
        assert (found[organ] != (truth == value)).sum() <= 4


def test_jpeg_palette(tmp_path, options, picture, truth):
    Image.fromarray(colours(truth)).save(tmp_path / "m.jpg", quality=95, subsampling=0)
    found = masks_of(read_masks(tmp_path / "m.jpg", picture, COLOURED, options))
    for value, organ in enumerate(COLOURED, 1):
        assert (found[organ] != (truth == value)).mean() < 0.01


def test_strays_are_counted_and_named(tmp_path, options, picture, truth):
    pixels = colours(truth)
    pixels[0, :7] = (255, 0, 255)
    pixels[1, :2] = (255, 255, 255)
    Image.fromarray(pixels).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="9 pixels of the mask have no colour of the study, most often #ff00ff"):
        read_masks(tmp_path / "m.png", picture, COLOURED, options)
    allowed = options.model_copy(update={"palette_strays": 0.01})
    check(read_masks(tmp_path / "m.png", picture, COLOURED, allowed), truth)
    named = options.model_copy(update={"palette": {"#ff00ff": [], "#ffffff": ["heart", "left"]}})
    labels = read_masks(tmp_path / "m.png", picture, COLOURED, named, overlapping=True)
    assert masks_of(labels)["left"][1, :2].all()


def test_a_colour_mask_without_colours_in_the_study(tmp_path, options, picture, truth):
    Image.fromarray(colours(truth)).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="gives its organs no colours"):
        read_masks(tmp_path / "m.png", picture, LUNGS, options)


def test_another_size_is_an_error_and_is_resampled_only_when_asked(tmp_path, options, picture, truth):
    big = truth.repeat(2, 0).repeat(2, 1)
    Image.fromarray(big).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="the mask is 120 × 80 × 1 and the scan 60 × 40 × 1"):
        read_masks(tmp_path / "m.png", picture, LUNGS, options)
    asked = options.model_copy(update={"resample_masks": True})
    check(read_masks(tmp_path / "m.png", picture, LUNGS, asked), truth)


def test_masks_of_cropped_radiographs_are_cropped_with_them(tmp_path, making):
    pixels = np.zeros((40, 60), np.uint16)
    pixels[6:36, 10:52] = np.random.default_rng(0).integers(900, 3000, (30, 42))
    making.radiograph(pixels).save_as(tmp_path / "x.dcm", enforce_file_format=True)
    options = Ingest(crop_borders=True)
    scan = read_scan_file([tmp_path / "x.dcm"], "xray", options)
    index = (pixels > 2000).astype(np.uint8)
    Image.fromarray(index).save(tmp_path / "m.png")
    labels = read_masks(tmp_path / "m.png", scan, {"a": Organ()}, options)
    np.testing.assert_array_equal(labels.mask("a"), scan.voxels[0] > 2000)


def test_not_annotated_is_kept_apart_from_absent(tmp_path, options, picture, truth):
    Image.fromarray(truth).save(tmp_path / "m.png")
    labels = read_masks(tmp_path / "m.png", picture, LUNGS, options, not_annotated=frozenset({"heart"}))
    assert labels.annotated == {"left", "right"}
    assert not labels.mask("heart").any()


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_run_lengths_by_scan_id_or_file_name(tmp_path, options, picture, truth, suffix):
    import gzip

    from pipeline.formats.rle.codec import encode

    rows = ["id,class,segmentation"]
    for value, organ in enumerate(LUNGS, 1):
        rows.append(f"scan.png,{organ},{encode(truth == value, 'uw-madison')}")
    text = "\n".join(rows).encode()
    path = tmp_path / f"m.{suffix}"
    path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    named = options.model_copy(update={"rle_dialect": "uw-madison"})
    check(read_masks(path, picture, LUNGS, named, names=("s1", "scan.png")), truth)
    with pytest.raises(InputError, match="no rows of this scan"):
        read_masks(path, picture, LUNGS, named, names=("s2",))


AFFINE = np.array([[-2.0, 0, 0, 40], [0, 0, 1.5, -30], [0, -3.0, 0, 10], [0, 0, 0, 1]])


@pytest.fixture
def volume(tmp_path, options):
    nib.save(nib.Nifti1Image(np.random.default_rng(0).normal(size=(7, 8, 9)), AFFINE), tmp_path / "scan.nii.gz")
    return read_scan_file([tmp_path / "scan.nii.gz"], "mri", options)


@pytest.fixture
def labelled():
    return np.random.default_rng(1).integers(0, 4, (7, 8, 9)).astype(np.uint8)


def read_volume(tmp_path, volume, data, affine, options, **kinds):
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "m.nii.gz")
    return read_masks(tmp_path / "m.nii.gz", volume, LUNGS, options, **kinds)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_a_label_volume(tmp_path, options, volume, labelled, dtype):
    noisy = labelled.astype(dtype) + (1e-7 if np.issubdtype(dtype, np.floating) else 0)
    labels = read_volume(tmp_path, volume, noisy.astype(dtype), AFFINE, options)
    np.testing.assert_array_equal(volume.to_stored(labels.data), labelled)
    np.testing.assert_allclose(labels.affine, volume.affine)


def test_rounded_geometry_is_fine(tmp_path, options, volume, labelled):
    near = AFFINE + np.random.default_rng(0).normal(0, 1e-3, (4, 4)) * (np.arange(4) < 3)[:, None]
    assert read_volume(tmp_path, volume, labelled, near, options).data.shape == volume.shape


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a @ np.diag([-1, 1, 1, 1]), "axes run"),
        (lambda a: a + np.array([[0, 0, 0, 2], *[[0] * 4] * 3]), r"lies elsewhere than the scan \(origins 2.00 mm"),
        (lambda a: a @ np.diag([1.1, 1, 1, 1]), "voxels are 2.2"),
    ],
)
def test_a_flip_a_shift_and_another_spacing_are_errors(tmp_path, options, volume, labelled, change, words):
    with pytest.raises(InputError, match=words):
        read_volume(tmp_path, volume, labelled, change(AFFINE), options)


def test_a_flip_that_the_affine_makes_up_for_is_turned_back_and_said(tmp_path, options, volume, labelled):
    flipped = AFFINE.copy()
    flipped[:3, 3] += flipped[:3, 0] * 6
    flipped[:3, 0] *= -1
    notes = {}
    labels = read_volume(tmp_path, volume, labelled[::-1], flipped, options, notes=notes)
    np.testing.assert_array_equal(volume.to_stored(labels.data), labelled)
    assert notes["turned"] == ("RIA", "LIA")


def test_another_shape_is_an_error_never_a_resize(tmp_path, options, volume, labelled):
    with pytest.raises(InputError, match="the mask is 7 × 8 × 8 and the scan 7 × 8 × 9"):
        read_volume(tmp_path, volume, labelled[:, :, 1:], AFFINE, options)


def test_resampling_on_request_is_by_nearest_neighbour_in_space(tmp_path, options, volume, labelled):
    fine = labelled.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    halved = AFFINE @ np.diag([0.5, 0.5, 0.5, 1])
    halved[:3, 3] = (AFFINE @ [-0.25, -0.25, -0.25, 1])[:3]
    notes = {}
    asked = options.model_copy(update={"resample_masks": True})
    labels = read_volume(tmp_path, volume, fine, halved, asked, notes=notes)
    np.testing.assert_array_equal(volume.to_stored(labels.data), labelled)
    assert notes["resampled"]


def test_labels_that_are_not_whole_are_counted(tmp_path, options, volume, labelled):
    odd = labelled.astype(np.float32)
    odd[0, 0, :3] = 1.5
    with pytest.raises(InputError, match="3 values that are not whole"):
        read_volume(tmp_path, volume, odd, AFFINE, options)


def test_a_dicom_series_takes_a_label_volume_in_another_axis_order(tmp_path, making, options, labelled):
    plain = np.diag([1.5, 2, 4, 1.0])
    making.save(tmp_path / "s", making.series(making.asymmetric((7, 8, 9)), plain))
    scan = read_scan_file([tmp_path / "s"], "mri", options)
    turned, affine = making.oriented(labelled, plain, (2, 0, 1), (True, False, True))
    labels = read_volume(tmp_path, scan, np.ascontiguousarray(turned), affine, options)
    np.testing.assert_array_equal(labels.data, labelled)
    with pytest.raises(InputError, match=r"lies elsewhere|axes run"):
        read_volume(tmp_path, scan, np.ascontiguousarray(turned), affine + np.eye(4)[:, [3, 3, 3, 0]], options)


def test_a_picture_is_no_mask_of_a_volume(tmp_path, options, volume, truth):
    Image.fromarray(truth).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="scan is a volume"):
        read_masks(tmp_path / "m.png", volume, LUNGS, options)


def test_missing_and_strange_files_are_named(tmp_path, options, picture):
    with pytest.raises(InputError, match="does not exist") as caught:
        read_masks(tmp_path / "no.png", picture, LUNGS, options)
    assert "no.png" in caught.value.where
    (tmp_path / "x.pdf").write_bytes(b"%PDF-1.7")
    with pytest.raises(InputError, match="a PDF document, not a mask"):
        read_masks(tmp_path / "x.pdf", picture, LUNGS, options)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_by_values_finds_each_value(values):
    data = np.array(values).reshape(-1, 1, 1)
    masks, _ = by_values(data, LUNGS, Ingest())
    for value, organ in enumerate(LUNGS, 1):
        np.testing.assert_array_equal(masks[organ], data == value)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), min_size=3, max_size=50))
def test_noise_on_black_and_white_never_changes_a_mask(pixels):
    data = np.array([[255 - noise if on else noise for on, noise in pixels]], np.uint8)
    wanted = np.array([[on for on, _ in pixels]])
    if np.unique(data).size > 2 and wanted.any():
        np.testing.assert_array_equal(one_organ(data, Ingest()), wanted)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), st.floats(0, 1))
def test_a_mixture_of_two_colours_goes_to_the_nearer(index, share):
    palette = {(255, 0, 0): ["a"], (0, 255, 0): ["b"], (0, 0, 0): []}
    names = list(palette)
    one, other = np.array(names[index], float), np.array(names[(index + 1) % 3], float)
    pixel = np.rint(one * share + other * (1 - share)).astype(np.uint8)[None, None]
    masks = by_colour(pixel, palette, Ingest())
    nearest = min(palette, key=lambda colour: float(np.linalg.norm(pixel[0, 0] - np.array(colour, float))))
    assert [name for name, mask in masks.items() if mask.any()] == palette[nearest]


@pytest.fixture
def one(truth):
    """One organ, ``(rows, columns)``."""
    return truth == 1


def as_alpha(one, colour, opposite=False):
    shown = one != opposite
    return Image.fromarray(np.dstack([np.full((*one.shape, 3), colour, np.uint8), (shown * 255).astype(np.uint8)]))


def as_palette(one, palette, organ_is=1, **kinds):
    image = Image.fromarray(np.where(one, organ_is, 1 - organ_is).astype(np.uint8), "L").convert("P")
    image.putpalette(palette)
    return image


WHITE, BLACK, RED = [255, 255, 255], [0, 0, 0], [255, 0, 0]
BINARY = {
    "alpha, white": lambda one: as_alpha(one, 255),
    "alpha, black": lambda one: as_alpha(one, 0),
    "alpha, red": lambda one: as_alpha(one, (255, 0, 0)),
    "grey and alpha": lambda one: as_alpha(one, 255).convert("LA"),
    "opaque": lambda one: Image.fromarray((one * 255).astype(np.uint8)).convert("RGBA"),
    "white on what is transparent": lambda one: Image.fromarray(np.dstack([(one * 255).astype(np.uint8)] * 4)),
    "red on transparent white": lambda one: Image.fromarray(
        np.where(one[..., None], np.array([255, 0, 0, 255]), np.array([255, 255, 255, 0])).astype(np.uint8)
    ),
    "black first": lambda one: as_palette(one, BLACK + WHITE),
    "white first": lambda one: as_palette(one, WHITE + BLACK, organ_is=0),
    "grey first": lambda one: as_palette(one, [200, 200, 200, *BLACK], organ_is=0),
    "red first": lambda one: as_palette(one, RED + BLACK, organ_is=0),
    "red second": lambda one: as_palette(one, BLACK + RED),
    "one bit": lambda one: Image.fromarray(one),
}  # fmt: skip


@pytest.mark.parametrize("kind", BINARY)
def test_two_valued_pictures_in_every_disguise(tmp_path, options, picture, one, kind):
    BINARY[kind](one).save(tmp_path / "m.png")
    for organs, source in ((LUNGS, {"left": tmp_path / "m.png"}), ({"left": Organ()}, tmp_path / "m.png")):
        if "red" in kind and not isinstance(source, dict):
            continue  # a colour needs a colour of the study, or a column of its organ
        labels = read_masks(source, picture, organs, options)
        np.testing.assert_array_equal(labels.mask("left")[..., 0].T, one)


@pytest.mark.parametrize("kind", ["white first", "black first", "alpha, white"])
def test_an_empty_mask_stays_empty(tmp_path, options, picture, kind):
    BINARY[kind](np.zeros((40, 60), bool)).save(tmp_path / "m.png")
    labels = read_masks({"left": tmp_path / "m.png"}, picture, LUNGS, options)
    assert labels.mask("left").any() == (kind == "alpha, white")  # nothing varies: it is as white as it looks


def test_colours_and_transparency_that_differ_are_two_readings(tmp_path, options, picture, truth):
    grey = np.where(truth == 1, 255, 0).astype(np.uint8)
    alpha = np.where(truth == 2, 0, 255).astype(np.uint8)
    grey[truth == 2] = 255
    Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="may be what has a colour or what is not transparent"):
        read_masks({"left": tmp_path / "m.png"}, picture, LUNGS, options)


@pytest.mark.parametrize("name", ["m.gif", "m.bmp", "m.tif"])
def test_masks_in_other_picture_formats(tmp_path, options, picture, one, name):
    Image.fromarray(one).save(tmp_path / name)
    labels = read_masks({"left": tmp_path / name}, picture, LUNGS, options)
    np.testing.assert_array_equal(labels.mask("left")[..., 0].T, one)


def test_a_film_is_no_mask(tmp_path, options, picture, one):
    Image.fromarray(one).save(tmp_path / "m.gif", save_all=True, append_images=[Image.fromarray(~one)])
    with pytest.raises(InputError, match="holds 2 pages"):
        read_masks({"left": tmp_path / "m.gif"}, picture, LUNGS, options)
