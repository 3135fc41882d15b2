"""Volumes from series: true geometry, and every flaw named."""

import itertools
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from pipeline.core.errors import InputError
from pipeline.core.scan import Scan
from pipeline.formats.table import read_scan_file, read_scans
from pipeline.ingest.drafts import draft

PLAIN = np.array([[1.5, 0, 0, -20], [0, 2.0, 0, 30], [0, 0, 4.0, -50], [0, 0, 0, 1]])


def turned(degrees, axis=0):
    """The plain affine turned about one axis."""
    angle = np.deg2rad(degrees)
    turn = np.eye(3)
    a, b = [i for i in range(3) if i != axis]
    turn[[a, a, b, b], [a, b, a, b]] = [np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)]
    affine = PLAIN.copy()
    affine[:3] = turn @ affine[:3]
    return affine


WAYS = [
    pytest.param(axes, flips, id=f"{axes}{flips}")
    for axes in itertools.permutations(range(3))
    for flips in ((False, False, False), (True, False, False), (False, True, True), (True, True, True))
]


@pytest.mark.parametrize(("axes", "flips"), WAYS)
def test_one_phantom_written_every_way_is_one_volume_in_space(tmp_path, making, options, axes, flips):
    volume = making.asymmetric()
    making.save(tmp_path, making.series(*making.oriented(volume, PLAIN, axes, flips)))
    scan = read_scan_file([tmp_path], "mri", options)
    np.testing.assert_array_equal(scan.voxels[0], volume)
    np.testing.assert_allclose(scan.affine, PLAIN, atol=1e-5)
    assert scan.spacing_source == "patient"


@pytest.mark.parametrize(("degrees", "axis"), [(12, 0), (-25, 1), (31, 2)])
def test_an_oblique_series_keeps_its_affine(tmp_path, making, options, degrees, axis):
    volume, affine = making.asymmetric(), turned(degrees, axis)
    making.save(tmp_path, making.series(*making.oriented(volume, affine, (1, 2, 0), (True, False, True))))
    scan = read_scan_file([tmp_path], "mri", options)
    np.testing.assert_array_equal(scan.voxels[0], volume)
    np.testing.assert_allclose(scan.affine, affine, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_dcm2niix_sees_the_same_volume(tmp_path, making, options, tool, seed):
    draw = np.random.default_rng(seed)
    volume, affine = making.asymmetric((12, 15, 8), seed), turned(draw.uniform(-30, 30), int(draw.integers(3)))
    axes, flips = tuple(int(i) for i in draw.permutation(3)), tuple(bool(b) for b in draw.integers(0, 2, 3))
    making.save(tmp_path / "in", making.series(*making.oriented(volume, affine, axes, flips)))
    (tmp_path / "out").mkdir()
    command = [tool("dcm2niix"), "-z", "n", "-b", "n", "-f", "it", "-o", str(tmp_path / "out"), str(tmp_path / "in")]
    subprocess.run(command, check=True, capture_output=True)
    theirs = nib.load(next((tmp_path / "out").glob("*.nii")))
    other = Scan(np.asanyarray(theirs.dataobj)[None], theirs.affine, "mri").canonical()
    ours = read_scan_file([tmp_path / "in"], "mri", options)
    np.testing.assert_array_equal(ours.voxels, other.voxels)
    np.testing.assert_allclose(ours.affine, other.affine, atol=1e-3)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo's DICOM series, each in a folder of its own."""
    from pipeline.demo.study import make

    root = tmp_path_factory.mktemp("demo")
    make("demo_mri", root / "demo_mri.csv", root / "data", seed=1, count=6)
    return sorted(path for path in (root / "data" / "images").iterdir() if path.is_dir())


def test_dcm2niix_sees_the_demos_series_as_we_do(tmp_path, options, tool, demo):
    gaps = []
    for folder in demo:
        (found,) = read_scans(folder, "mri", options)
        if found.read is None:
            gaps.append(found.reason)  # one is planted; dcm2niix writes such a series as it can
            continue
        (tmp_path / folder.name).mkdir()
        command = [tool("dcm2niix"), "-z", "n", "-b", "n", "-f", "it", "-o", str(tmp_path / folder.name), str(folder)]
        subprocess.run(command, check=True, capture_output=True)
        theirs = nib.load(next((tmp_path / folder.name).glob("*.nii")))
        other = Scan(np.asanyarray(theirs.dataobj)[None], theirs.affine, "mri").canonical()
        ours = found.read().canonical()
        np.testing.assert_array_equal(ours.voxels, other.voxels)
        np.testing.assert_allclose(ours.affine, other.affine, atol=1e-3)
    assert len(demo) >= 4
    assert len(gaps) == 1
    assert "slice is missing" in gaps[0]


def test_spacing_comes_from_positions_not_thickness(tmp_path, making, options):
    slices = making.series(making.asymmetric(), PLAIN, SliceThickness=1.0, SpacingBetweenSlices=9.0)
    assert read_scan_file([making.save(tmp_path, slices)], "mri", options).spacing[2] == pytest.approx(4.0)


def test_missing_slices_are_counted(tmp_path, making, options):
    slices = making.series(making.asymmetric((5, 5, 12)), PLAIN)
    making.save(tmp_path, slices[:4] + slices[6:])
    with pytest.raises(InputError, match="2 slices are missing"):
        read_scan_file([tmp_path], "mri", options)


def test_uneven_spacing_is_never_averaged_away(tmp_path, making, options):
    slices = making.series(making.asymmetric((5, 5, 8)), PLAIN)
    slices[3].ImagePositionPatient[2] += 0.7
    with pytest.raises(InputError, match="unevenly spaced"):
        read_scan_file([making.save(tmp_path, slices)], "mri", options)


def test_rounded_positions_are_even(tmp_path, making, options):
    slices = making.series(making.asymmetric((5, 5, 8)), turned(17))
    for item in slices:
        item.ImagePositionPatient = [f"{float(v):.3f}" for v in item.ImagePositionPatient]
    assert read_scan_file([making.save(tmp_path, slices)], "mri", options).shape == (5, 5, 8)


def _at(making, step, count, *, rounded=1, without=()):
    """A series whose positions are ``step`` mm apart and written with some decimals."""
    affine = PLAIN.copy()
    affine[2, 2] = step
    slices = making.series(making.asymmetric((5, 5, count)), affine)
    for item in slices:
        item.ImagePositionPatient = [f"{float(v):.{rounded}f}" for v in item.ImagePositionPatient]
    return [item for index, item in enumerate(slices) if index not in without]


@pytest.mark.parametrize(("step", "rounded"), [(0.625, 1), (0.25, 1), (0.3333, 2), (2.5, 0), (3.3, 0)])
def test_positions_rounded_when_they_were_written_are_regular(tmp_path, making, options, step, rounded):
    scan = read_scan_file([making.save(tmp_path, _at(making, step, 40, rounded=rounded))], "mri", options)
    assert scan.shape == (5, 5, 40)
    assert scan.spacing[2] == pytest.approx(step, abs=10**-rounded / 39)
    assert f"written to {10**-rounded:g} mm" in scan.notes["rounded"]


@pytest.mark.parametrize(("step", "rounded"), [(0.625, 1), (0.25, 1), (2.5, 0)])
@pytest.mark.parametrize(("count", "missing"), [(3, 2), (4, 1), (12, 5), (40, 1)])
def test_rounding_hides_no_missing_slice(tmp_path, making, options, step, rounded, count, missing):
    slices = _at(making, step, count + 1, rounded=rounded, without=(missing,))
    with pytest.raises(InputError, match="1 slice is missing" if count > 4 else "missing|unevenly spaced"):
        read_scan_file([making.save(tmp_path, slices)], "mri", options)


def test_a_shifted_slice_is_no_rounding(tmp_path, making, options):
    slices = _at(making, 4.0, 12, rounded=0)
    slices[5].ImagePositionPatient[2] += 1
    with pytest.raises(InputError, match="unevenly spaced"):
        read_scan_file([making.save(tmp_path, slices)], "mri", options)


def test_a_slice_that_alone_lacks_its_rescale_is_named(tmp_path, making, options):
    slices = making.series(making.asymmetric((5, 5, 8)), PLAIN)
    for item in slices:
        item.RescaleSlope, item.RescaleIntercept = "2", "0"
    del slices[3].RescaleSlope, slices[3].RescaleIntercept
    scan = read_scan_file([making.save(tmp_path, slices)], "mri", options)
    assert scan.notes["no_rescale"].startswith("slice 4 (instance 4) of 8 alone has no RescaleSlope")


def test_slopes_that_differ_or_say_nothing_are_no_finding(tmp_path, making, options):
    slices = making.series(making.asymmetric((5, 5, 8)), PLAIN)
    for number, item in enumerate(slices, 1):
        item.RescaleSlope, item.RescaleIntercept = str(number), "0"
    (tmp_path / "pet").mkdir()
    assert "no_rescale" not in read_scan_file([making.save(tmp_path / "pet", slices)], "mri", options).notes
    for item in slices[1:]:
        item.RescaleSlope = "1"
    del slices[0].RescaleSlope, slices[0].RescaleIntercept
    (tmp_path / "one").mkdir()
    assert "no_rescale" not in read_scan_file([making.save(tmp_path / "one", slices)], "mri", options).notes


def test_slices_shifted_in_their_plane_are_refused(tmp_path, making, options):
    slices = making.series(making.asymmetric((5, 5, 8)), PLAIN)
    slices[3].ImagePositionPatient[0] += 3
    with pytest.raises(InputError, match="do not lie in one line"):
        read_scan_file([making.save(tmp_path, slices)], "mri", options)


def test_a_tilted_gantry_keeps_its_shear(tmp_path, making, options):
    affine = PLAIN.copy()
    affine[1, 2] = 1.0
    volume = making.asymmetric()
    slices = making.series(volume, affine)
    scan = read_scan_file([making.save(tmp_path, slices)], "mri", options)
    np.testing.assert_allclose(scan.affine, affine, atol=1e-5)
    assert scan.notes["sheared"]


def test_copies_of_slices_are_dropped_and_told(tmp_path, making, options):
    volume = making.asymmetric()
    slices = making.series(volume, PLAIN)
    making.save(tmp_path / "a", slices)
    making.save(tmp_path / "b", slices[:2])
    scan = read_scan_file([tmp_path], "mri", options)
    np.testing.assert_array_equal(scan.voxels[0], volume)
    assert scan.notes["duplicates"] == 2


def test_a_slice_exported_twice_under_another_uid_is_dropped(tmp_path, making, options):
    volume = making.asymmetric()
    slices, again = making.series(volume, PLAIN), making.series(volume, PLAIN)[2]
    again.SeriesInstanceUID = slices[0].SeriesInstanceUID
    scan = read_scan_file([making.save(tmp_path, [*slices, again])], "mri", options)
    np.testing.assert_array_equal(scan.voxels[0], volume)
    assert scan.notes["duplicates"] == 1


def test_two_different_slices_at_one_place_are_refused(tmp_path, making, options):
    slices = making.series(making.asymmetric(), PLAIN)
    odd = making.series(making.asymmetric(seed=9), PLAIN)[2]
    odd.SeriesInstanceUID = slices[0].SeriesInstanceUID
    with pytest.raises(InputError, match="occur 1 to 2 times"):
        read_scan_file([making.save(tmp_path, [*slices, odd])], "mri", options)


@pytest.mark.parametrize(
    ("element", "values", "name"),
    [
        ("EchoTime", (10.0, 80.0), "echo time"),
        ("DiffusionBValue", (0.0, 1000.0), "b-value"),
        ("TemporalPositionIdentifier", (1, 2), "time point"),
        ("ImageType", (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]), "image type"),
    ],
)
def test_repeated_positions_are_volumes(tmp_path, making, options, element, values, name):
    volumes = [making.asymmetric(seed=seed) for seed in (1, 2)]
    slices = [making.series(v, PLAIN, **{element: value}) for v, value in zip(volumes, values, strict=True)]
    for item in slices[1]:
        item.SeriesInstanceUID = slices[0][0].SeriesInstanceUID
    scan = read_scan_file([making.save(tmp_path, slices[0] + slices[1])], "mri", options)
    assert scan.voxels.shape[0] == 2
    for channel, volume in zip(scan.voxels, volumes, strict=True):
        np.testing.assert_array_equal(channel, volume)
    assert all(name in channel for channel in scan.channels)


def test_repetitions_without_any_mark_follow_instance_numbers(tmp_path, making, options):
    volumes = [making.asymmetric(seed=seed) for seed in (1, 2, 3)]
    datasets = []
    for index, volume in enumerate(volumes):
        for item in making.series(volume, PLAIN):
            item.InstanceNumber = int(item.InstanceNumber) + 100 * index
            item.SeriesInstanceUID = datasets[0].SeriesInstanceUID if datasets else item.SeriesInstanceUID
            datasets.append(item)
    scan = read_scan_file([making.save(tmp_path, datasets)], "mri", options)
    for channel, volume in zip(scan.voxels, volumes, strict=True):
        np.testing.assert_array_equal(channel, volume)


def test_a_repetition_that_lacks_a_slice_is_refused(tmp_path, making, options):
    first, second = (making.series(making.asymmetric(seed=s), PLAIN) for s in (1, 2))
    for item in second:
        item.SeriesInstanceUID = first[0].SeriesInstanceUID
    with pytest.raises(InputError, match="occur 1 to 2 times"):
        read_scan_file([making.save(tmp_path, first + second[:-1])], "mri", options)


def test_a_mixed_folder_gives_its_series_and_names_the_rest(tmp_path, making, options):
    making.save(tmp_path / "deep" / "er", making.series(making.asymmetric(), PLAIN))
    making.save(tmp_path / "other", making.series(making.asymmetric((8, 8, 9)), PLAIN))
    scout = making.series(making.asymmetric((4, 4, 1)), PLAIN, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    making.save(tmp_path / "scout", scout)
    (tmp_path / "README.txt").write_text("hello")
    (tmp_path / "empty").touch()
    found = read_scans(tmp_path, "mri", options)
    assert sorted(item.read().shape for item in found if item.read) == [(7, 9, 6), (8, 8, 9)]
    reasons = sorted(item.reason for item in found if not item.read)
    assert reasons == [
        "is a scout (localizer)",
        "is a text file, not an image",
        "is an empty file, not an image",
    ]
    with pytest.raises(InputError, match="holds 2 scans"):
        read_scan_file([tmp_path], "mri", options)


def test_a_scout_inside_the_series_is_passed_over(tmp_path, making, options):
    slices = making.series(making.asymmetric((6, 6, 9)), PLAIN)
    scout = making.series(*making.oriented(making.asymmetric((6, 6, 1)), PLAIN, (1, 2, 0)))[:1]
    scout[0].SeriesInstanceUID = slices[0].SeriesInstanceUID
    making.save(tmp_path, slices + scout)
    found = read_scans(tmp_path, "mri", options)
    assert [bool(item.read) for item in found] == [False, True]
    assert "scout" in found[0].reason


def test_an_enhanced_object_is_the_series_it_was_made_from(tmp_path, making, options):
    volume = making.asymmetric()
    slices = making.series(*making.oriented(volume, PLAIN, (2, 0, 1), (True, False, True)))
    order = np.random.default_rng(0).permutation(len(slices))
    making.enhanced([slices[i] for i in order]).save_as(tmp_path / "one.dcm", enforce_file_format=True)
    scan = read_scan_file([tmp_path / "one.dcm"], "mri", options)
    np.testing.assert_array_equal(scan.voxels[0], volume)
    np.testing.assert_allclose(scan.affine, PLAIN, atol=1e-5)


def test_an_enhanced_object_without_positions_is_refused(tmp_path, making, options):
    data = making.enhanced(making.series(making.asymmetric(), PLAIN))
    del data.PerFrameFunctionalGroupsSequence
    data.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match="frames without positions"):
        read_scan_file([tmp_path / "one.dcm"], "mri", options)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_compressed_slices_are_the_same(tmp_path, making, options, syntax):
    volume = making.asymmetric((64, 48, 3))
    slices = making.series(volume, PLAIN)
    for item in slices:
        item.compress(syntax)
    scan = read_scan_file([making.save(tmp_path, slices)], "mri", options)
    np.testing.assert_array_equal(scan.voxels[0], volume)


def test_rescaling_keeps_whole_numbers_whole_and_fractions_exact(tmp_path, making, options):
    volume = making.asymmetric()
    whole = read_scan_file(
        [making.save(tmp_path / "a", making.series(volume, PLAIN, RescaleSlope=2, RescaleIntercept=-1024))],
        "mri",
        options,
    )
    assert whole.voxels.dtype == np.int16
    np.testing.assert_array_equal(whole.voxels[0], volume.astype(int) * 2 - 1024)
    slices = making.series(volume, PLAIN, RescaleIntercept=0.25)
    for index, item in enumerate(slices):
        item.RescaleSlope = 0.5 + index
    scan = read_scan_file([making.save(tmp_path / "b", slices)], "mri", options)
    np.testing.assert_allclose(scan.voxels[0], volume * (0.5 + np.arange(6)) + 0.25)


def test_overlay_bits_above_the_stored_ones_are_cleared(tmp_path, making, options):
    volume = making.asymmetric()
    slices = making.series(volume | 0x8000, PLAIN, BitsStored=12, HighBit=11)
    scan = read_scan_file([making.save(tmp_path, slices)], "mri", options)
    np.testing.assert_array_equal(scan.voxels[0], volume & 0x0FFF)


def test_a_slice_cut_short_is_named(tmp_path, making, options):
    making.save(tmp_path, making.series(making.asymmetric(), PLAIN))
    victim = tmp_path / "0003.dcm"
    victim.write_bytes(victim.read_bytes()[:-20])
    with pytest.raises(InputError, match="pixels end early"):
        read_scan_file([tmp_path], "mri", options)


def test_a_header_that_promises_the_moon_is_refused_before_allocation(tmp_path, making, options):
    slices = making.series(making.asymmetric((5, 5, 1)), PLAIN, Rows=65535, Columns=65535, NumberOfFrames=9999)
    with pytest.raises(InputError, match="header promises"):
        read_scan_file([making.save(tmp_path, slices)], "mri", options)


def test_channels_from_several_folders_must_share_a_grid(tmp_path, making, options):
    first, second = (making.asymmetric(seed=s) for s in (1, 2))
    making.save(tmp_path / "t1", making.series(first, PLAIN))
    making.save(tmp_path / "t2", making.series(*making.oriented(second, PLAIN, (2, 1, 0), (True, True, False))))
    making.save(tmp_path / "small", making.series(making.asymmetric((5, 5, 6)), PLAIN))
    named = options.model_copy(update={"channels": ["T1", "T2"]})
    same = [tmp_path / "t1", shutil.copytree(tmp_path / "t1", tmp_path / "copy")]
    assert read_scan_file(same, "mri", named).channels == ("T1", "T2")
    with pytest.raises(InputError, match="another grid"):
        read_scan_file([tmp_path / "t1", tmp_path / "small"], "mri", named)
    turned_channels = read_scan_file([tmp_path / "t1", tmp_path / "t2"], "mri", named)
    np.testing.assert_array_equal(turned_channels.voxels, [first, second])


def test_a_draft_tells_radiographs_from_slices(tmp_path, making):
    """A folder of radiographs was once drafted as one series, and the pictures beside them were passed over."""
    making.save(tmp_path / "head", making.series(making.asymmetric((5, 5, 8)), PLAIN))
    same = making.radiograph(np.ones((6, 7), np.uint16)).SeriesInstanceUID
    films = [making.radiograph(np.full((6, 7), n, np.uint16), SeriesInstanceUID=same) for n in range(4)]
    making.save(tmp_path / "films", films)
    (tmp_path / "films" / "broken.dcm").write_bytes((tmp_path / "films" / "0001.dcm").read_bytes()[:-40])
    (tmp_path / "films" / "photo.png").write_bytes(b"x")
    both = [making.series(making.asymmetric((5, 5, 8)), PLAIN), making.series(making.asymmetric((5, 5, 8)), PLAIN)]
    making.save(tmp_path / "mixed", [*both[0], *both[1]])
    found = draft(tmp_path)
    films_found = ["films/0000.dcm", "films/0001.dcm", "films/0002.dcm", "films/0003.dcm", "films/broken.dcm"]
    assert sorted(row["image"] for row in found.rows) == [*films_found, "films/photo.png", "head"]
    assert found.left_out["holds several series: put each into a folder of its own"] == ["mixed"]
