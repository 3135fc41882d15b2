"""RT structure sets: volumes and centres against shapes whose areas are known, and against other rasterisers."""

import itertools
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import skimage.measure
from matplotlib.path import Path as Outline
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from pipeline.core.errors import InputError
from pipeline.core.scan import LPS
from pipeline.core.study import Organ
from pipeline.formats.dicom.rtstruct import inside_of
from pipeline.formats.masks import read_masks
from pipeline.formats.table import read_scan_file

PLAIN = np.array([[0.4, 0, 0, -20], [0, 0.45, 0, 30], [0, 0, 3.0, -50], [0, 0, 0, 1]])
SHAPE = (80, 72, 8)
ORGANS = {"heart": Organ(), "liver": Organ()}


@pytest.fixture
def scan(tmp_path, making, options):
    """A series whose slices lie in an order and direction that are not those of the canonical scan."""

    def make(axes=(0, 1, 2), flips=(True, True, False), affine=PLAIN):
        volume, placed = making.oriented(making.asymmetric(SHAPE), affine, axes, flips)
        making.save(tmp_path / "s", making.series(volume, placed))
        return read_scan_file([tmp_path / "s"], "mri", options)

    return make


def circle(x, y, radius, count=400, turn=1):
    """Points of a circle in mm, ``(N, 2)``."""
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False) * turn
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1)


@pytest.fixture
def structures(tmp_path, making):
    """A function that writes structures: name → contours, each points ``(N, 2)`` in RAS mm and a height."""

    def write(named, kind="CLOSED_PLANAR", types=()):
        data = making.dicom_file(RTStructureSetStorage, np.zeros((2, 2), np.uint16))
        for name in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
            del data[name]
        data.Modality, data.StructureSetLabel = "RTSTRUCT", "organs"
        data.StructureSetROISequence, data.ROIContourSequence, data.RTROIObservationsSequence = [], [], []
        for number, (name, contours) in enumerate(named.items(), 7):
            roi, drawn, seen = Dataset(), Dataset(), Dataset()
            roi.ROINumber = drawn.ReferencedROINumber = seen.ReferencedROINumber = number
            roi.ROIName, seen.ObservationNumber = name, number
            seen.RTROIInterpretedType = dict(types).get(name, "ORGAN")
            drawn.ContourSequence = []
            for points, height in contours:
                item = Dataset()
                item.ContourGeometricType = kind
                solid = np.column_stack([points, np.full(len(points), height)]) * LPS
                item.NumberOfContourPoints = len(solid)
                item.ContourData = [f"{value:.4f}" for value in solid.ravel()]
                drawn.ContourSequence.append(item)
            data.StructureSetROISequence.append(roi)
            data.ROIContourSequence.append(drawn)
            data.RTROIObservationsSequence.append(seen)
        data.save_as(tmp_path / "rs.dcm", enforce_file_format=True)
        return tmp_path / "rs.dcm"

    return write


def heights(scan, first=2, last=6):
    return [float(scan.affine[2, 2] * level + scan.affine[2, 3]) for level in range(first, last + 1)]


def amount(scan, mask):
    """Volume in mL and centre in mm."""
    inside = np.argwhere(mask)
    centre = scan.affine[:3, :3] @ inside.mean(axis=0) + scan.affine[:3, 3]
    return len(inside) * np.prod(scan.spacing) / 1000, centre


CENTRE = (-4.0, 45.0)


@pytest.mark.parametrize("turn", [1, -1])
def test_cylinders_and_tubes_have_the_volume_of_their_shape(scan, structures, options, turn):
    scan = scan()
    levels = heights(scan)
    shapes = {
        "heart": [(circle(*CENTRE, 9.13), z) for z in levels],
        "liver": [(circle(*CENTRE, radius, turn=sign), z) for z in levels for radius, sign in ((11.2, 1), (6.1, turn))],
    }
    labels = read_masks(structures(shapes), scan, ORGANS, options, overlapping=True)
    for organ, area in (("heart", np.pi * 9.13**2), ("liver", np.pi * (11.2**2 - 6.1**2))):
        millilitres, centre = amount(scan, labels.mask(organ))
        assert millilitres == pytest.approx(area * 15 / 1000, rel=0.01)
        np.testing.assert_allclose(centre, [*CENTRE, np.mean(levels)], atol=0.1)


def test_a_keyhole_is_the_hole_that_exclusive_or_makes(scan, structures, options):
    scan = scan()
    outer, inner = circle(*CENTRE, 11.0), circle(*CENTRE, 6.0, turn=-1)
    keyhole = np.concatenate([outer, outer[:1], inner, inner[:1]])
    levels = heights(scan)
    two = structures({"heart": [(part, z) for z in levels for part in (outer, inner)], "liver": []})
    by_two = read_masks(two, scan, ORGANS, options).mask("heart")
    one = structures({"heart": [(keyhole, z) for z in levels], "liver": []})
    by_one = read_masks(one, scan, ORGANS, options).mask("heart")
    assert by_two.any()
    np.testing.assert_array_equal(by_one, by_two)


@pytest.mark.parametrize(("axes", "flips"), [((0, 1, 2), (False,) * 3), ((2, 0, 1), (True, False, True))])
def test_contours_lie_on_the_slices_of_any_series(tmp_path, scan, structures, options, axes, flips):
    """Written in the patient's millimetres, they are found whatever way the series runs."""
    tilt = np.array([[0.96, -0.28, 0, 0], [0.28, 0.96, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    scan = scan(axes, flips, tilt @ PLAIN)
    centre = (scan.affine @ [40, 36, 4, 1])[:2]
    levels = heights(scan)
    if axes == (0, 1, 2):
        path = structures({"heart": [(circle(*centre, 8.0), z) for z in levels], "liver": []})
        millilitres, found = amount(scan, read_masks(path, scan, ORGANS, options).mask("heart"))
        assert millilitres == pytest.approx(np.pi * 64 * 15 / 1000, rel=0.02)
        np.testing.assert_allclose(found[:2], centre, atol=0.15)
    else:  # of this series no slice is level: such contours are not its own
        path = structures({"heart": [(circle(*centre, 8.0), levels[0] + 1.3)], "liver": []})
        with pytest.raises(InputError, match=r"between the scan's slices"):
            read_masks(path, scan, ORGANS, options)


def test_against_itk_contours_of_a_mask_give_the_mask_back(scan, structures, options):
    """Outlines of a blobby mask by scikit-image, filled by us, are the mask; ITK measures the same volume."""
    scan = scan()
    smooth = np.kron(np.random.default_rng(1).normal(size=(8, 6, 8)), np.ones((10, 12, 1)))
    wanted = np.zeros(scan.shape, bool)
    wanted[2:-2, 2:-2, 1:-1] = (smooth > 0.3)[2:-2, 2:-2, 1:-1]
    contours = []
    for level in range(scan.shape[2]):
        for outline in skimage.measure.find_contours(wanted[:, :, level].astype(float), 0.5):
            place = (
                np.column_stack([outline, np.full(len(outline), level)]) @ scan.affine[:3, :3].T + scan.affine[:3, 3]
            )
            contours.append((place[:-1, :2], place[0, 2]))
    labels = read_masks(structures({"heart": contours, "liver": []}), scan, ORGANS, options)
    np.testing.assert_array_equal(labels.mask("heart"), wanted)
    image = SimpleITK.GetImageFromArray(labels.mask("heart").astype(np.uint8).transpose(2, 1, 0))
    image.SetSpacing(scan.spacing)
    shape = SimpleITK.LabelShapeStatisticsImageFilter()
    shape.Execute(image)
    millilitres, _ = amount(scan, wanted)
    assert shape.GetPhysicalSize(1) / 1000 == pytest.approx(millilitres)


def test_against_plastimatch(tmp_path, scan, structures, options):
    """Another reader of structure sets, in C++, finds the same volumes and centres."""
    scan = scan()
    draw = np.random.default_rng(5)
    levels = heights(scan, 1, 6)
    blob = [
        (circle(*CENTRE, 9.0) + draw.normal(0, 0.02, (400, 2)) + [0, level / 3], z) for level, z in enumerate(levels)
    ]
    tube = [(circle(2.0, 44.0, radius), z) for z in levels for radius in (8.1, 4.3)]
    path = structures({"heart": blob, "liver": tube})
    labels = read_masks(path, scan, ORGANS, options, overlapping=True)
    grid = tmp_path / "grid.nii.gz"
    nib.save(nib.Nifti1Image(scan.voxels[0].astype(np.float32), scan.affine), grid)
    words = [
        "--input",
        path,
        "--fixed",
        grid,
        "--output-prefix",
        tmp_path / "out",
        "--prefix-format",
        "nii.gz",
        "--xor-contours",
    ]
    plastimatch = pytest.importorskip("plastimatch")
    program = Path(plastimatch.__file__).parent / "bin" / "plastimatch"
    subprocess.run([program, "convert", *map(str, words)], check=True, capture_output=True)
    for organ in ORGANS:
        image = nib.as_closest_canonical(nib.load(tmp_path / "out" / f"{organ}.nii.gz"))
        np.testing.assert_allclose(image.affine, scan.affine, atol=1e-3)
        theirs = np.asarray(image.dataobj) > 0
        ours = labels.mask(organ)
        assert (ours != theirs).sum() <= 0.001 * theirs.sum()
        for mine, other in zip(amount(scan, ours), amount(scan, theirs), strict=True):
            np.testing.assert_allclose(mine, other, rtol=0.01, atol=0.1)


@pytest.mark.parametrize("seed", range(20))
def test_any_polygon_is_filled_as_matplotlib_does(seed):
    """Self-crossing ones by the even-odd rule too, as crossing numbers of rays count."""
    draw = np.random.default_rng(seed)
    points = draw.uniform(-0.9, 21, (int(draw.integers(3, 12)), 2))
    grid = np.stack(np.meshgrid(np.arange(20), np.arange(16), indexing="ij"), -1)
    ours = inside_of(points, (20, 16))
    ring = np.concatenate([points, points[:1]])
    crossings = np.zeros((20, 16), int)
    for (x0, y0), (x1, y1) in itertools.pairwise(ring):
        between = (grid[..., 1] >= min(y0, y1)) & (grid[..., 1] < max(y0, y1))
        crossings += between & (grid[..., 0] >= x0 + (grid[..., 1] - y0) * (x1 - x0) / (y1 - y0))
    np.testing.assert_array_equal(ours, crossings % 2 == 1)
    if len(points) == 3:  # of a triangle both rules are one
        theirs = Outline(points).contains_points(grid.reshape(-1, 2)).reshape(20, 16)
        np.testing.assert_array_equal(ours, theirs)


def test_edges_through_centres_count_once():
    """Two rectangles that share an edge neither overlap nor leave a gap; rounding of a millionth changes nothing."""
    left = np.array([[2, 2], [6, 2], [6, 9], [2, 9]], float)
    right = left + np.array([4, 0])
    a, b = (inside_of(points, (14, 12)) for points in (left, right))
    assert a.sum() == b.sum() == 4 * 7
    assert not (a & b).any()
    assert a[2:6, 2:9].all()
    noisy = left + np.random.default_rng(0).normal(0, 1e-7, left.shape)
    np.testing.assert_array_equal(inside_of(np.round(noisy, 4), (14, 12)), a)


def test_a_structure_that_may_be_the_missing_organ_is_refused(scan, structures, options):
    scan = scan()
    part = [(circle(*CENTRE, 6.0), heights(scan)[0])]
    with pytest.raises(InputError, match=r"no organ of the study: 8 \(Leber\)"):
        read_masks(structures({"heart": part, "Leber": part}), scan, ORGANS, options)
    notes = {}
    all_there = structures({"heart": part, "liver": part, "PTV": part, "Spleen": part})
    labels = read_masks(all_there, scan, ORGANS, options, overlapping=True, notes=notes)
    assert labels.present() == ("heart", "liver")
    assert notes["passed_over"] == 2
    body = structures({"heart": part, "BODY": part}, types=[("BODY", "EXTERNAL")])
    assert read_masks(body, scan, ORGANS, options).present() == ("heart",)
    named = options.model_copy(update={"background": [0, "leber"]})
    assert read_masks(structures({"heart": part, "Leber": part}), scan, ORGANS, named).present() == ("heart",)


def test_a_set_given_for_one_organ(scan, structures, options):
    scan = scan()
    part = [(circle(*CENTRE, 6.0), heights(scan)[0])]
    path = structures({"heart": part, "PTV": part})
    labels = read_masks({"heart": path}, scan, ORGANS, options)
    assert labels.annotated == {"heart"}
    assert labels.mask("heart").any()


def test_slices_without_a_contour_are_said(scan, structures, options):
    scan = scan()
    levels = heights(scan)
    crossed = [(circle(CENTRE[0] + shift, CENTRE[1], 6.0), levels[0]) for shift in (0, 4)]
    notes = {}
    read_masks(
        structures({"heart": [(circle(*CENTRE, 6.0), z) for z in levels[::2]], "liver": crossed + crossed[:1]}),
        scan,
        ORGANS,
        options,
        overlapping=True,
        notes=notes,
    )
    assert notes["gaps"] == ["heart has no contour on 2 slices between its first and its last"]
    assert notes["crossing"] == ["liver has contours that cross on 1 slices"]


@pytest.mark.parametrize(
    ("kind", "move", "words"),
    [
        ("OPEN_PLANAR", 0, r"heart has contours that enclose nothing \(OPEN_PLANAR\)"),
        ("CLOSED_PLANAR", 1.3, "between the scan's slices"),
        ("CLOSED_PLANAR", 300, "reach outside the scan"),
    ],
)
def test_what_encloses_nothing_or_lies_elsewhere_is_refused(scan, structures, options, kind, move, words):
    scan = scan()
    path = structures({"heart": [(circle(*CENTRE, 6.0), heights(scan)[0] + move)], "liver": []}, kind)
    with pytest.raises(InputError, match=words):
        read_masks(path, scan, ORGANS, options)


def test_contours_outside_the_picture_and_damaged_ones(scan, structures, options):
    scan = scan()
    z = heights(scan)[0]
    with pytest.raises(InputError, match="reach outside the scan"):
        read_masks(structures({"heart": [(circle(CENTRE[0] + 30, CENTRE[1], 6.0), z)]}), scan, ORGANS, options)
    path = structures({"heart": [(circle(*CENTRE, 6.0), z)]})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError):
        read_masks(path, scan, ORGANS, options)
    with pytest.raises(InputError, match=r"holds no image .RT Structure Set"):
        read_scan_file([path], "mri", options)


@pytest.mark.filterwarnings("ignore:The value for the data element")
def test_a_contour_too_long_for_its_element_is_read_and_a_set_too_long_for_the_memory_is_not(scan, structures, options):
    """What does not fit the 64 KiB of an explicit element is written as one of unknown kind (PS3.5, 6.2.2)."""
    scan = scan()
    path = structures({"heart": [(circle(*CENTRE, 9.13, 4000), heights(scan)[0])], "liver": []})
    millilitres, _ = amount(scan, read_masks(path, scan, ORGANS, options).mask("heart"))
    assert millilitres == pytest.approx(np.pi * 9.13**2 * 3 / 1000, rel=0.01)
    little = options.model_copy(update={"memory_gib": 1e-4})
    with pytest.raises(InputError, match="the structure set promises"):
        read_masks(path, scan, ORGANS, little)
