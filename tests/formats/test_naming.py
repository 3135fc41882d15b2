"""Names against values: those of segments in a file, and those of tables beside it."""

import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from pipeline.core.errors import InputError
from pipeline.core.study import Organ, Study
from pipeline.formats.masks import read_masks
from pipeline.formats.naming import says_nothing
from pipeline.formats.table import read_scan_file

AFFINE = np.array([[-2.0, 0, 0, 40], [0, -1.5, 0, -30], [0, 0, 3.0, 10], [0, 0, 0, 1]])
KNEE = {"femur": Organ(), "tibia": Organ()}
SHAPE = (9, 8, 7)


@pytest.fixture
def volume(tmp_path, options):
    data = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "scan.nii.gz")
    return read_scan_file([tmp_path / "scan.nii.gz"], "mri", options)


@pytest.fixture
def truth():
    """Values in the axis order of the file, femur 1 and tibia 2."""
    values = np.zeros(SHAPE, np.uint8)
    values[1:6, 2:4, 1:5] = 1
    values[6:8, 4:7, 2:6] = 2
    return values


def seg_nrrd(path, layers, segments, kind="list"):
    """Write a ``.seg.nrrd``: layers ``(L, X, Y, Z)``, segments of name, layer and value (both may be left out)."""
    sizes = layers.shape if len(layers) > 1 else layers.shape[1:]
    lead = ("none ", f"{kind} ") if len(layers) > 1 else ("", "")
    lines = [
        *("NRRD0004", "# made for a test", "type: unsigned char", f"dimension: {len(sizes)}"),
        *("space: left-posterior-superior", f"sizes: {' '.join(map(str, sizes))}"),
        f"space directions: {lead[0]}(2,0,0) (0,1.5,0) (0,0,3)",
        *(f"kinds: {lead[1]}domain domain domain", "encoding: raw", "space origin: (-40,30,10)"),
    ]
    for number, (name, *place) in enumerate(segments):
        fields = dict(zip(("Layer", "LabelValue"), place, strict=False))
        lines += [f"Segment{number}_{key}:={value}" for key, value in {"Name": name, **fields}.items()]
    data = layers if len(layers) > 1 else layers[0]
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + data.tobytes(order="F"))
    return path


def check(labels, volume, truth):
    for value, organ in enumerate(KNEE, 1):
        np.testing.assert_array_equal(volume.to_stored(labels.mask(organ)), truth == value)


def test_names_of_segments_win_and_the_difference_is_said(tmp_path, options, volume, truth):
    swapped = np.array([0, 2, 1], np.uint8)[truth]
    path = seg_nrrd(tmp_path / "m.seg.nrrd", swapped[None], [("Tibia", 0, 1), ("femur", 0, 2)])
    notes = {}
    check(read_masks(path, volume, KNEE, options, notes=notes), volume, truth)
    assert notes["names_won"] == "tibia is 1 in the file and 2 in the study; femur is 2 in the file and 1 in the study"
    notes = {}
    same = seg_nrrd(tmp_path / "n.seg.nrrd", truth[None], [("femur", 0, 1), ("tibia", 0, 2)])
    check(read_masks(same, volume, KNEE, options, notes=notes), volume, truth)
    assert notes == {}


@pytest.mark.parametrize("kind", ["list", "vector"])
def test_layers_are_read_and_may_overlap(tmp_path, options, volume, truth, kind):
    wide = truth > 0
    layers = np.stack([(truth == 1), wide]).astype(np.uint8)
    path = seg_nrrd(tmp_path / "m.seg.nrrd", layers, [("femur", 0, 1), ("tibia", 1, 1)], kind)
    notes = {}
    labels = read_masks(path, volume, KNEE, options, overlapping=True, notes=notes)
    np.testing.assert_array_equal(volume.to_stored(labels.mask("femur")), truth == 1)
    np.testing.assert_array_equal(volume.to_stored(labels.mask("tibia")), wide)
    assert notes == {}


def test_layers_agree_with_simpleitk(tmp_path, options, volume, truth):
    layers = np.stack([(truth == 1), (truth == 2)]).astype(np.uint8)
    path = seg_nrrd(tmp_path / "m.seg.nrrd", layers, [("femur", 0, 1), ("tibia", 1, 1)])
    read = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))
    np.testing.assert_array_equal(read.transpose(3, 2, 1, 0), layers)
    check(read_masks(path, volume, KNEE, options), volume, truth)


def test_old_files_have_a_layer_a_segment_and_no_values(tmp_path, options, volume, truth):
    layers = np.stack([(truth == 2), (truth == 1)]).astype(np.uint8)
    path = seg_nrrd(tmp_path / "m.seg.nrrd", layers, [("tibia",), ("femur",)])
    check(read_masks(path, volume, KNEE, options), volume, truth)


def test_a_segmentation_cut_to_its_content_finds_its_place(tmp_path, options, volume, truth):
    part = truth[1:8, 2:7, 1:6]
    path = seg_nrrd(tmp_path / "m.seg.nrrd", part[None], [("femur", 0, 1), ("tibia", 0, 2)])
    origin = b"space origin: (-38,33,13)"
    path.write_bytes(path.read_bytes().replace(b"space origin: (-40,30,10)", origin))
    check(read_masks(path, volume, KNEE, options), volume, truth)
    path.write_bytes(path.read_bytes().replace(origin, b"space origin: (-32,33,13)"))
    with pytest.raises(InputError, match="reaches outside the scan"):
        read_masks(path, volume, KNEE, options)
    path.write_bytes(path.read_bytes().replace(b"origin: (-32,33", b"origin: (-37,33"))
    with pytest.raises(InputError, match="the mask is 7 × 5 × 5 and the scan 9 × 8 × 7"):
        read_masks(path, volume, KNEE, options)


def test_foreign_names_are_refused_with_both_readings_and_mapped(tmp_path, options, volume, truth):
    path = seg_nrrd(tmp_path / "m.seg.nrrd", truth[None], [("Oberschenkel", 0, 1), ("Schienbein", 0, 2)])
    with pytest.raises(InputError, match=r"1 \(Oberschenkel\), 2 \(Schienbein\).*by number 1 would be femur, 2 would"):
        read_masks(path, volume, KNEE, options)
    names = {"Oberschenkel": "femur", "Schienbein": "tibia"}
    study = Study.model_validate({"modality": "mri", "organs": ["femur", "tibia"], "names": names})
    check(read_masks(path, volume, study.organs, options), volume, truth)
    assert Study.model_validate_json(study.model_dump_json()) == study


def test_a_name_can_be_background(tmp_path, options, volume, truth):
    path = seg_nrrd(tmp_path / "m.seg.nrrd", truth[None], [("femur", 0, 1), ("Kissen", 0, 2)])
    with pytest.raises(InputError, match=r"no organ of the study: 2 \(Kissen\)"):
        read_masks(path, volume, KNEE, options)
    passed = options.model_copy(update={"background": [0, "kissen"]})
    labels = read_masks(path, volume, KNEE, passed)
    np.testing.assert_array_equal(volume.to_stored(labels.mask("femur")), truth == 1)
    assert labels.present() == ("femur",)


@pytest.mark.parametrize(("name", "number", "nothing"), [
    ("Segment_1", 1, True), ("Segment_1", 2, False), ("Label 3", 3, True), ("", 4, True), ("Region", 1, True),
    ("femur", 1, False), ("class_02", 2, True), ("7", 7, True), ("L1", 1, False),
])  # fmt: skip
def test_names_that_are_only_numbers(name, number, nothing):
    assert says_nothing(name, number) == nothing


def test_segments_without_names_go_by_number_and_it_is_said(tmp_path, options, volume, truth):
    path = seg_nrrd(tmp_path / "m.seg.nrrd", truth[None], [("Segment_1", 0, 1), ("Segment_2", 0, 2)])
    notes = {}
    check(read_masks(path, volume, KNEE, options, notes=notes), volume, truth)
    assert notes["numbers_taken"] == "segment 1 was taken for femur; segment 2 was taken for tibia"
    # A segment that was deleted and drawn anew has another value than its name says: two readings.
    path = seg_nrrd(tmp_path / "m.seg.nrrd", truth[None], [("Segment_2", 0, 1), ("Segment_1", 0, 2)])
    with pytest.raises(InputError, match=r"1 \(Segment_2\), 2 \(Segment_1\)"):
        read_masks(path, volume, KNEE, options)


def test_organs_that_are_called_by_number_take_segments_by_number(tmp_path, options, volume, truth):
    path = seg_nrrd(tmp_path / "m.seg.nrrd", truth[None], [("femur", 0, 1), ("tibia", 0, 2)])
    labels = read_masks(path, volume, {"2": Organ(value=2), "1": Organ(value=1)}, options)
    np.testing.assert_array_equal(volume.to_stored(labels.mask("2")), truth == 2)


def test_one_segment_of_any_name_is_the_one_organ(tmp_path, options, volume, truth):
    one = (truth == 1).astype(np.uint8)
    path = seg_nrrd(tmp_path / "m.seg.nrrd", one[None], [("Oberschenkel", 0, 1)])
    notes = {}
    labels = read_masks(path, volume, {"femur": Organ(value=5)}, options, notes=notes)
    np.testing.assert_array_equal(volume.to_stored(labels.mask("femur")), one)
    assert "the study's one organ" in notes["numbers_taken"]
    with pytest.raises(InputError, match=r"by number 1 would be femur"):
        read_masks(path, volume, KNEE, options)


def test_a_file_for_one_organ_gives_the_segment_of_that_name(tmp_path, options, volume, truth):
    path = seg_nrrd(tmp_path / "m.seg.nrrd", truth[None], [("tibia", 0, 1), ("femur", 0, 2)])
    labels = read_masks({"femur": path}, volume, KNEE, options)
    np.testing.assert_array_equal(volume.to_stored(labels.mask("femur")), truth == 2)


def test_values_of_no_segment_and_layers_that_are_not_there(tmp_path, options, volume, truth):
    path = seg_nrrd(tmp_path / "m.seg.nrrd", truth[None], [("femur", 0, 1)])
    with pytest.raises(InputError, match="values that none of its segments has: 2"):
        read_masks(path, volume, KNEE, options)
    path = seg_nrrd(tmp_path / "m.seg.nrrd", truth[None], [("femur", 0, 1), ("tibia", 0, 2), ("patella", 4, 1)])
    with pytest.raises(InputError, match="a layer that it does not hold"):
        read_masks(path, volume, KNEE, options)
    path = seg_nrrd(tmp_path / "m.seg.nrrd", truth[None], [("femur", "x", 1)])
    with pytest.raises(InputError, match="layer or value is no whole number"):
        read_masks(path, volume, KNEE, options)


def test_a_header_of_a_hundred_segments_is_not_too_long(tmp_path, options, volume, truth):
    more = [(f"{name}{'x' * 900}", 0, value) for value, name in enumerate(["rib"] * 100, 3)]
    path = seg_nrrd(tmp_path / "m.seg.nrrd", truth[None], [("femur", 0, 1), ("tibia", 0, 2), *more])
    check(read_masks(path, volume, KNEE, options), volume, truth)


TABLES = {
    "dataset.json": '{"labels": {"0": "background", "1": "Tibia", "2": "Femur"}}',
    "../dataset.json": '{"labels": {"background": 0, "tibia": 1, "femur": 2}}',
    "m.txt": '#####\n0 0 0 0 0 0 0 "Clear Label"\n1 255 0 0 1 1 1 "tibia"\n2 0 255 0 1 1 1 "femur"\n',
    "labels.label": '0 0 0 0 0 0 0 "Clear Label"\n1 255 0 0 1 1 1 "tibia"\n2 0 255 0 1 1 1 "femur"\n',
    "colours.ctbl": "# Color table file\n0 Background 0 0 0 0\n1 tibia 128 174 128 255\n2 femur 9 9 9 255\n",
    "m.tsv": "index\tname\tcolor\n1\ttibia\t#112233\n2\tfemur\t#445566\n",
    "m-label_ColorTable.ctbl": "1 tibia 128 174 128 255\n2 femur 9 9 9 255\n",
    "m.csv": "LabelValue,Name,Color_R,Color_G,Color_B,Color_A\n1,tibia,1,2,3,255\n2,femur,1,2,3,255\n",
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_tables_beside_a_mask_name_its_values(tmp_path, options, volume, truth, name, ending):
    folder = tmp_path / "labels"
    folder.mkdir()
    swapped = np.array([0, 2, 1], np.uint8)[truth]
    nib.save(nib.Nifti1Image(swapped, AFFINE), folder / "m.nii.gz")
    if ending == ".nrrd":
        SimpleITK.WriteImage(SimpleITK.ReadImage(folder / "m.nii.gz"), folder / "m.nrrd")
    (folder / name).write_text(TABLES[name])
    notes = {}
    check(read_masks(folder / f"m{ending}", volume, KNEE, options, notes=notes), volume, truth)
    assert "tibia is 1 in the file and 2 in the study" in notes["names_won"]


def test_each_mask_has_the_table_of_its_own_name(tmp_path, options, volume, truth):
    (tmp_path / "l").mkdir()
    swapped = np.array([0, 2, 1], np.uint8)[truth]
    for name, data, called in (("p1", truth, "femur tibia"), ("p10", swapped, "tibia femur"), ("p2", truth, "")):
        nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "l" / f"{name}.nii.gz")
        rows = [f"{value} {word} 1 1 1 255" for value, word in enumerate(called.split(), 1)]
        if rows:
            (tmp_path / "l" / f"{name}-ColorTable.ctbl").write_text("\n".join(rows) + "\n")
    for name in ("p1", "p10", "p2"):  # the last has none, and those of the others are not its
        check(read_masks(tmp_path / "l" / f"{name}.nii.gz", volume, KNEE, options), volume, truth)


def test_a_table_beside_an_index_picture(tmp_path, options):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 18)).astype(np.uint8)).save(tmp_path / "x.png")
    scan = read_scan_file([tmp_path / "x.png"], "xray", options)
    index = np.random.default_rng(1).integers(0, 3, (12, 18)).astype(np.uint8)
    (tmp_path / "masks").mkdir()
    Image.fromarray(index).save(tmp_path / "masks" / "m.png")
    (tmp_path / "masks" / "names.txt").write_text("0 background 0 0 0 0\n1 tibia 1 1 1 255\n2 femur 2 2 2 255\n")
    labels = read_masks(tmp_path / "masks" / "m.png", scan, KNEE, options)
    np.testing.assert_array_equal(labels.mask("tibia")[..., 0].T, index == 1)


def test_bids_tables_are_inherited(tmp_path, options, volume, truth):
    folder = tmp_path / "derivatives" / "sub-01" / "anat"
    folder.mkdir(parents=True)
    path = folder / "sub-01_space-T1w_desc-knee_dseg.nii.gz"
    nib.save(nib.Nifti1Image(np.array([0, 2, 1], np.uint8)[truth], AFFINE), path)
    table = "index\tname\n1\t{}\n2\t{}\n"
    (tmp_path / "derivatives" / "desc-knee_dseg.tsv").write_text(table.format("tibia", "femur"))
    (tmp_path / "derivatives" / "desc-other_dseg.tsv").write_text(table.format("femur", "tibia"))
    check(read_masks(path, volume, KNEE, options), volume, truth)
    (folder / "sub-01_desc-knee_dseg.tsv").write_text(table.format("femur", "tibia"))  # nearer
    check(read_masks(path, volume, KNEE, options), volume, np.array([0, 2, 1], np.uint8)[truth])


def test_tables_that_contradict_each_other_are_refused(tmp_path, options, volume, truth):
    (tmp_path / "l").mkdir()
    nib.save(nib.Nifti1Image(truth, AFFINE), tmp_path / "l" / "m.nii.gz")
    (tmp_path / "l" / "a.ctbl").write_text("1 femur 1 1 1 255\n2 tibia 2 2 2 255\n")
    (tmp_path / "l" / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "tibia": 1, "femur": 2}}))
    with pytest.raises(InputError, match=r"two tables .* value 1: femur \(.ctbl table\) and tibia \(dataset.json\)"):
        read_masks(tmp_path / "l" / "m.nii.gz", volume, KNEE, options)


def test_tables_of_foreign_names_are_refused_and_of_numbers_pass(tmp_path, options, volume, truth):
    (tmp_path / "l").mkdir()
    path = tmp_path / "l" / "m.nii.gz"
    nib.save(nib.Nifti1Image(truth, AFFINE), path)
    (tmp_path / "l" / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "gris", "2": "blanc"}}))
    with pytest.raises(InputError, match=r"1 \(gris\), 2 \(blanc\), none of them as the study does"):
        read_masks(path, volume, KNEE, options)
    (tmp_path / "l" / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "label 1", "2": "2"}}))
    notes = {}
    check(read_masks(path, volume, KNEE, options, notes=notes), volume, truth)
    assert notes == {}


@pytest.mark.parametrize("content", ["[1, 2]", "{", '{"labels": 3}', '{"labels": {"1": null}}', "[" * 100_000])
def test_odd_tables_are_no_tables(tmp_path, options, volume, truth, content):
    (tmp_path / "l").mkdir()
    nib.save(nib.Nifti1Image(truth, AFFINE), tmp_path / "l" / "m.nii.gz")
    (tmp_path / "l" / "dataset.json").write_text(content)
    (tmp_path / "l" / "m.txt").write_bytes(b"\xff\xfe report of a reader")
    (tmp_path / "l" / "boxes.txt").write_text("0 12 14 15 17\n1 12 14 15 17\n")
    check(read_masks(tmp_path / "l" / "m.nii.gz", volume, KNEE, options), volume, truth)


def test_regions_and_voxels_to_ignore_of_a_dataset(tmp_path, options, volume, truth):
    (tmp_path / "l").mkdir()
    values = truth.copy()
    values[0, 0, 0] = 3
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "l" / "m.nii.gz")
    labels = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
    (tmp_path / "l" / "dataset.json").write_text(json.dumps({"labels": labels, "regions_class_order": [1, 2]}))
    organs = {"whole": Organ(), "core": Organ()}
    found = read_masks(tmp_path / "l" / "m.nii.gz", volume, organs, options, overlapping=True)
    np.testing.assert_array_equal(volume.to_stored(found.mask("whole")), truth > 0)
    np.testing.assert_array_equal(volume.to_stored(found.mask("core")), truth == 2)
    assert volume.to_stored(found.ignored())[0, 0, 0]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"names": {"Oberschenkel": "femor"}}, "did you mean 'femur'"),
        ({"names": {"femur": "tibia"}}, "'femur' stands for 'femur' and for 'tibia'"),
        ({"organs": {"femur": {"aliases": ["Bone"]}, "tibia": {"aliases": ["bone"]}}}, "'bone' stands for 'femur'"),
    ],
)
def test_names_of_the_config_are_checked(config, words):
    from pipeline.core.study import parse_study

    with pytest.raises(InputError, match=words):
        parse_study({"modality": "mri", "organs": ["femur", "tibia"], **config}, "s.yaml")
