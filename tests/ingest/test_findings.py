"""Findings: what a person should look at is found, and nothing else."""

import copy
import itertools

import numpy as np
import pytest
from PIL import Image

from pipeline.core.study import Study
from pipeline.formats.table import read_scan_file
from pipeline.ingest.cohort import cohort_findings, left_right_pairs, robust_z
from pipeline.ingest.quality import bounding_box, component_sizes, measure_masks
from pipeline.ingest.thumbs import near_duplicates, thumb


def codes(row):
    return {part.split(":")[0] for part in row["findings"].split(";") if part}


@pytest.fixture
def cohort(small):
    for i in range(12):
        small.chest(f"s{i:02d}", i)
    return small


def save(small, name, pixels):
    Image.fromarray(pixels.astype(np.uint8)).save(small.data / name)


def load(small, name):
    return np.asarray(Image.open(small.data / name)).astype(int)


def test_a_plain_cohort_has_no_findings(cohort):
    scans, rejected = cohort.run()
    assert not rejected
    assert {name: row["findings"] for name, row in scans.items() if row["findings"]} == {}


@pytest.mark.parametrize("pair", list(itertools.combinations(("left_lung", "right_lung", "heart"), 2)))
def test_swapped_organs_are_found_in_any_scan(cohort, pair):
    cohort.run()
    facts = cohort.facts()
    plain = {**dict.fromkeys(("low", "high"), 1), **{f"{w}_{a}": 1 for w in ("size", "spacing") for a in "xyz"}}
    cells = [{"patient_id": fact["scan_id"], "scan_id": fact["scan_id"], **plain} for fact in facts]
    for index, fact in enumerate(facts):
        changed = copy.deepcopy(fact)
        one, other = pair
        organs = changed["organs"]
        organs[one], organs[other] = organs[other], organs[one]
        found = cohort_findings(cohort.study, cells, [*facts[:index], changed, *facts[index + 1 :]])
        assert any(f.code in {"swapped", "sides"} and all(o in f.sentence for o in pair) for f in found[index])
        assert not any(found[:index] + found[index + 1 :])


def test_wrong_sides_need_no_cohort(small):
    masks = small.chest("a", 0)
    for organ, other in (("left_lung", "right_lung"), ("right_lung", "left_lung")):
        save(small, f"a_{organ}.png", masks[other] * 255)
    scans, _ = small.run()
    assert codes(scans["a"]) == {"sides"}


def test_an_organ_that_is_missing_is_found_unless_nobody_looked_for_it(cohort):
    save(cohort, "s03_heart.png", np.zeros((96, 96)))
    cohort.rows[5] |= {"not_annotated": "heart"}
    scans, _ = cohort.run()
    assert codes(scans["s03"]) == {"organ_missing"}
    assert codes(scans["s05"]) == set()
    assert scans["s05"]["annotated"] == "left_lung;right_lung"


def test_specks_borders_and_few_greys(cohort):
    mask = load(cohort, "s02_heart.png")
    mask[3, 3] = mask[90, 90] = 255
    save(cohort, "s02_heart.png", mask)
    lung = load(cohort, "s04_left_lung.png")
    lung[40:50, 60:] = 255
    save(cohort, "s04_left_lung.png", lung)
    save(cohort, "s06.png", load(cohort, "s06.png") // 32 * 32)
    scans, _ = cohort.run()
    assert "specks" in codes(scans["s02"])
    assert scans["s02"]["components_heart"] == "3"
    assert scans["s04"]["border"] == "left_lung"
    assert "few_greys" in codes(scans["s06"])


def test_outliers_of_grey_and_size(cohort):
    save(cohort, "s01.png", load(cohort, "s01.png") // 8)
    for name in ("s07", *(f"s07_{organ}" for organ in cohort.config["organs"])):
        save(cohort, f"{name}.png", load(cohort, f"{name}.png").repeat(4, 0).repeat(4, 1))
    scans, _ = cohort.run()
    assert "outlier_grey" in codes(scans["s01"])
    assert "outlier_size" in codes(scans["s07"])
    assert sum(bool(row["findings"]) for row in scans.values()) == 2


def test_the_same_picture_under_two_patients(cohort):
    pixels = load(cohort, "s04.png")
    brighter = np.clip(pixels * 1.2 + 9, 0, 255).astype(np.uint8)
    small = Image.fromarray(brighter).resize((80, 80), Image.Resampling.BICUBIC)
    small.save(cohort.data / "again.jpg", quality=80)
    cohort.add("again", "again.jpg")
    Image.fromarray(pixels.astype(np.uint8)).save(cohort.data / "same.png")
    cohort.add("own", "same.png", patient_id="s05")
    cohort.rows[5]["patient_id"] = "s05"
    scans, _ = cohort.run()
    found = {name for name, row in scans.items() if "near_duplicate" in codes(row)}
    assert found == {"s04", "again", "own"}
    assert "looks like s04 of another patient" in scans["again"]["findings"]


def test_copies_of_one_patient_are_no_finding():
    texts = [_thumb(1), _thumb(1), _thumb(2)]
    assert list(near_duplicates(texts, ["a", "a", "b"])) == []
    assert [(i, j) for i, j, _ in near_duplicates(texts, ["a", "c", "b"])] == [(0, 1)]


@pytest.mark.parametrize("block", [1, 2, 3, 512])
def test_duplicates_are_found_whatever_the_size_of_the_blocks(monkeypatch, block):
    from pipeline.ingest import thumbs

    monkeypatch.setattr(thumbs, "_BLOCK", block)
    texts = [_thumb(seed) for seed in (1, 2, 3, 1, 4, 2, 5)]
    assert sorted((i, j) for i, j, _ in near_duplicates(texts, list("abcdefg"))) == [(0, 3), (1, 5)]


def _thumb(seed):
    from pipeline.core.scan import FRONTAL_AFFINE, Scan

    voxels = np.random.default_rng(seed).normal(size=(1, 40, 30, 1))
    return thumb(Scan(voxels, FRONTAL_AFFINE, "xray", "unknown"))


def test_left_and_right_go_by_whole_words():
    study = Study(modality="xray", organs=["left_lung", "Right Kidney", "Left Kidney", "right_lung", "cleft"])  # type: ignore[arg-type]
    assert left_right_pairs(study) == [("left_lung", "right_lung"), ("Left Kidney", "Right Kidney")]


def test_robust_z_is_not_moved_by_the_outlier_itself():
    values = np.array([1.0, 1.1, 0.9, 1.05, 0.95, 100])
    scores = robust_z(values, 0.01)
    assert abs(scores[-1]) > 4
    assert np.abs(scores[:-1]).max() < 2


def test_components_count_diagonals_and_boxes_are_tight():
    mask = np.zeros((6, 6, 1), bool)
    mask[1, 1] = mask[2, 2] = mask[4, 5] = True
    assert component_sizes(mask) == [2, 1]
    assert bounding_box(mask) == (slice(1, 5), slice(1, 6), slice(0, 1))


@pytest.fixture(scope="module")
def chests(real_data):
    """Shapes of the organs of all real chest radiographs."""
    from pipeline.core.study import Ingest, Organ
    from pipeline.formats.masks import read_masks

    folder = real_data / "xray_wingspan"
    organs = {name: Organ() for name in ("left_lung", "right_lung", "heart")}
    facts = []
    for path in sorted((folder / "images").glob("*.png")):
        scan = read_scan_file([path], "xray", Ingest())
        files = {organ: folder / "masks_raw" / organ / path.name for organ in organs}
        labels = read_masks(files, scan, organs, Ingest(), overlapping=True)
        _, _, shapes = measure_masks(labels, scan)
        facts.append({"scan_id": path.stem, "organs": shapes, "thumb": thumb(scan)})
    return Study(modality="xray", organs=list(organs)), facts  # type: ignore[arg-type]


def found_in(study, facts):
    from pipeline.ingest.cohort import _sides, _swaps

    found = [[] for _ in facts]
    _swaps(study, facts, found)
    _sides(study, facts, found)
    return found


def test_the_real_swap_is_found_without_a_false_alarm(chests):
    study, facts = chests
    assert len(facts) == 151
    pairs = zip(facts, found_in(study, facts), strict=True)
    named = {fact["scan_id"]: [str(finding) for finding in found] for fact, found in pairs}
    assert {name for name, found in named.items() if found} == {"WS0054"}
    assert named["WS0054"] == ["swapped: left_lung and heart look swapped, by their place, size and shape"]


def test_any_swap_in_any_real_scan_is_found(chests):
    study, facts = chests
    missed, others = [], []
    for index, fact in enumerate(facts):
        if fact["scan_id"] == "WS0054":
            continue
        for one, other in itertools.combinations(study.organs, 2):
            swapped = {**fact["organs"], one: fact["organs"][other], other: fact["organs"][one]}
            found = found_in(study, [*facts[:index], {**fact, "organs": swapped}, *facts[index + 1 :]])
            if not any(one in f.sentence and other in f.sentence for f in found[index]):
                missed.append((fact["scan_id"], one, other))
            others += [
                facts[i]["scan_id"] for i, f in enumerate(found) if f and i != index and facts[i]["scan_id"] != "WS0054"
            ]
    assert missed == []
    assert others == []


def test_no_two_real_patients_look_the_same(chests):
    _, facts = chests
    names = [fact["scan_id"] for fact in facts]
    assert list(near_duplicates([fact["thumb"] for fact in facts], names)) == []


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "f4"])
@pytest.mark.parametrize("shape", [(1, 30, 20, 1), (2, 9, 8, 7), (1, 700, 500, 1), (1, 90, 80, 70)])
def test_grey_values_are_measured_as_numpy_measures_them(kind, shape):
    from pipeline.core.scan import FRONTAL_AFFINE, Scan
    from pipeline.ingest.quality import measure_scan

    voxels = (np.random.default_rng(0).normal(size=shape) * 30).astype(kind)
    measured = measure_scan(Scan(voxels, FRONTAL_AFFINE, "xray", "unknown"))
    step = {350_000: 2, 504_000: 2}.get(voxels.size, 1)
    sample = voxels[:, ::step, ::step, ::step]
    assert (measured["low"], measured["high"]) == pytest.approx(np.percentile(sample, [0.5, 99.5]), rel=1e-5)
    assert measured["greys"] == np.unique(sample).size
    assert measured["saturated"] == pytest.approx(np.isin(sample, [sample.min(), sample.max()]).mean(), abs=1e-4)
    turned = Scan(np.asfortranarray(voxels)[:, ::-1][:, ::-1], FRONTAL_AFFINE, "xray", "unknown")
    assert measure_scan(turned) == measured


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (lambda m: m | True, "fills the picture"),
        (lambda m: ~m, "touches all four borders of the picture"),
        (
            lambda m: np.pad(np.ones((18, 28, 1), bool), ((1, 1), (1, 1), (0, 0))),
            "takes 84% of the picture, more than half",
        ),
        (lambda m: m, None),
    ],
)
def test_a_mask_that_may_be_inverted_is_said(mask, words):
    from pipeline.core.labels import LabelMap
    from pipeline.core.scan import FRONTAL_AFFINE, Scan

    organ = np.zeros((20, 30, 1), bool)
    organ[3:9, 5:12] = True
    scan = Scan(np.zeros((1, 20, 30, 1), np.uint8), FRONTAL_AFFINE, "xray", "unknown")
    labels = LabelMap.from_masks({"heart": mask(organ)}, scan.affine, ["heart"], overlapping=False)
    _, findings, _ = measure_masks(labels, scan)
    found = [str(finding) for finding in findings if finding.code == "inverted"]
    assert found == ([f"inverted: heart {words}: the mask may be inverted"] if words else [])


def test_what_reading_masks_assumed_becomes_findings():
    from pipeline.ingest.quality import mask_findings

    notes = {"turned": ("LPS", "RAS"), "rows": "up", "passed_over": 0, "gaps": ["heart has no contour on 2 slices"]}
    assert [str(finding) for finding in mask_findings(notes)] == [
        "turned: the mask's axes run LPS and the scan's RAS, and its geometry was followed",
        "rows: rows run up, as the geometry of mask or scan says, and the mask's were turned over",
        "gaps: heart has no contour on 2 slices",
    ]
