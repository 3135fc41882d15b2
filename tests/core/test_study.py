"""Configs, manifests, shards and splits: what can be wrong is said when it is read."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.core.files import read_table, write_table
from pipeline.core.manifest import load_manifest
from pipeline.core.paths import StudyPaths
from pipeline.core.shards import read_shard, rows_digest, shard_of, write_shards
from pipeline.core.splits import by_part, draw_splits, fold_sides
from pipeline.core.study import Study, load_study, parse_study

ROOT = Path(__file__).parents[2]


def study(**extra: object) -> Study:
    return parse_study({"modality": "xray", "organs": ["left_lung", "right_lung", "heart"], **extra}, "test.yaml")


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_config_of_ours_is_right(path: Path) -> None:
    assert load_study(path.stem, ROOT).organs


def test_a_new_study_needs_little() -> None:
    assert study().values() == {"left_lung": 1, "right_lung": 2, "heart": 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modles": {}}, "did you mean 'models'"),
        ({"ingest": {"shard": 3}}, "did you mean 'shards'"),
        ({"models": {"unet": {"step": 3}}}, "did you mean 'steps'"),
        ({"modality": "xrey"}, "modality: .*'xrey'"),
        ({"budget": {"steps": 3, "minutes": 1}}, "steps or minutes"),
        ({"organs": []}, "name at least one"),
        ({"organs": {"a": {"mirror": "b"}}}, "mirrors 'b'"),
        ({"organs": {"a": {"value": 1}, "b": {"value": 1}}}, "same value"),
        ({"organs": {"a": {"color": "red"}}}, "organs.a.color"),
        ({"evaluate": {"cardiothoracic_ratio": True}, "organs": ["heart"]}, "needs organs"),
        ({"models": {"champion": {}}}, "cannot be a model's name"),
    ],
)
def test_bad_configs_say_where_and_how_to_mend(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        study(**change)


def test_an_absent_study_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "hippocampus.yaml").write_text("modality: mri\norgans: [a]\n")
    with pytest.raises(InputError, match="Did you mean 'hippocampus'"):
        load_study("hipocampus", tmp_path)


def manifest(tmp_path: Path, text: str, config: Study | None = None) -> object:
    path = tmp_path / "m.csv"
    path.write_text(text)
    return load_manifest(path, config or study(split={"folds": 3}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scan_id,image\na,b\n", "no column 'patient_id'"),
        ("scan_id,patient_id,image\n", "no rows"),
        ("scan_id,patient_id,image,mask_spleen\na,p,i,m\n", "not in the study"),
        (
            "scan_id,patient_id,image,fold\na,p,i,0\nb,p,j,1\n",
            r"patient 'p' is in .*fold 0 \(line 2\).*fold 1 \(line 3\)",
        ),
        ("scan_id,patient_id,image,split\na,p,i,test\nb,p,j,development\n", "patient 'p' is in test"),
        ("scan_id,patient_id,image\na,p,i\nb,q,i\n", "one image stands for two patients, in lines 2 and 3"),
    ],
)
def test_what_spoils_the_study_stops_it(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        manifest(tmp_path, text)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("../x,p,i,,", "cannot name files"),
        ("b,p,,,", "image cell is empty"),
        ("b,p,/etc/passwd,,", "absolute"),
        ("b,p,../../x,,", "leaves the data root"),
        ("b,p,i,train,", "split is 'train'"),
        ("b,p,i,,7", "fold is '7'"),
        ("a,p,j,,", "stands in line 2 already"),
    ],
)
def test_what_spoils_a_row_spoils_that_row_only(tmp_path: Path, row: str, message: str) -> None:
    found = manifest(tmp_path, f"scan_id,patient_id,image,split,fold\na,q,k,,\n{row}\n")
    assert [r.scan_id for r in found.rows] == ["a"]  # type: ignore[attr-defined]
    (bad,) = found.bad  # type: ignore[attr-defined]
    assert bad.line == 3
    assert message in bad.reason


def test_a_changed_scan_changes_its_shard_and_no_other(tmp_path: Path) -> None:
    config = study(ingest={"shards": 3})
    data = tmp_path / "data"
    data.mkdir()
    rows = [{"scan_id": f"s{i}", "patient_id": f"p{i}", "image": f"s{i}.png"} for i in range(12)]
    for row in rows:
        (data / row["image"]).write_text("x")
    write_table(tmp_path / "m.csv", rows, ["scan_id", "patient_id", "image"])
    found = load_manifest(tmp_path / "m.csv", config)
    paths = StudyPaths("t", tmp_path)
    assert write_shards(paths, config, found, data) == [0, 1, 2]
    assert write_shards(paths, config, found, data) == []
    (data / "s5.png").write_text("changed")
    assert write_shards(paths, config, found, data) == [shard_of("s5", 3)]
    warmer = study(ingest={"shards": 3, "mask_threshold": 100})
    assert write_shards(paths, warmer, found, data) == [0, 1, 2]
    back = [row for shard in range(3) for row in read_shard(paths.shard_manifest(shard), found)]
    assert sorted(back, key=lambda r: r.line) == list(found.rows)
    shards = "".join(paths.shard_manifest(shard).read_text() for shard in range(3))
    assert ".png" not in shards, "no file is named in what may be handed on"
    rows[5]["patient_id"] = "someone else"
    write_table(tmp_path / "m.csv", rows, ["scan_id", "patient_id", "image"])
    edited = load_manifest(tmp_path / "m.csv", config)
    with pytest.raises(InputError, match="row of s5 was changed"):
        read_shard(paths.shard_manifest(shard_of("s5", 3)), edited)
    os.remove(data / "s1.png")
    assert write_shards(paths, warmer, found, data) == [shard_of("s1", 3)]


def test_what_was_read_is_told_apart_from_what_the_manifest_says_now(tmp_path: Path) -> None:
    """A manifest that is changed after the shards were cut changes nothing of what a run says it was trained on."""
    config, paths, path = study(), StudyPaths("t", tmp_path), tmp_path / "m.csv"
    rows = [{"scan_id": f"s{i}", "patient_id": f"p{i}", "image": f"s{i}.png"} for i in range(9)]

    def cut(rows: list[dict[str, str]]) -> str | None:
        write_table(path, rows, ["scan_id", "patient_id", "image"])
        write_shards(paths, config, load_manifest(path, config), tmp_path)
        return rows_digest(paths)

    assert rows_digest(paths) is None
    before = cut(rows)
    write_table(path, rows[1:], ["scan_id", "patient_id", "image"])
    assert rows_digest(paths) == before
    assert cut(rows[1:]) != before
    assert cut([*rows[4:], *rows[:4]]) == before, "the order of the rows does not count"


patients = st.dictionaries(
    st.text("abcdef0123456789", min_size=1, max_size=5),
    st.tuples(st.just(""), st.none(), st.sampled_from(["x", "y"])),
    min_size=8,
    max_size=40,
)


@given(patients, st.integers(1, 4), st.integers(0, 5))
def test_splits_put_each_patient_in_one_place(people: dict, folds: int, seed: int) -> None:
    splits = draw_splits(people, test_fraction=0.25, folds=folds, validation_fraction=0.25, seed=seed)
    assert set(splits) == set(people)
    assert all(place.fold is None for place in splits.values() if place.split == "test")
    rows = [{"patient_id": p, "scan_id": f"{p}-{i}", "labelled": "1"} for p in people for i in range(2)]
    test = {r["patient_id"] for r in by_part(rows, splits, "test")}
    assert test
    seen: list[str] = []
    for fold in range(folds):
        train, validation = fold_sides(rows, splits, fold)
        names = {r["patient_id"] for r in train}, {r["patient_id"] for r in validation}
        assert names[0]
        assert names[1]
        assert not names[0] & names[1]
        assert not (names[0] | names[1]) & test
        seen += names[1]
    assert len(seen) == len(set(seen))
    assert set(seen) == {r["patient_id"] for r in by_part(rows, splits, "oof")}
    if folds > 1:
        assert set(seen) == set(people) - test
    assert splits == draw_splits(people, test_fraction=0.25, folds=folds, validation_fraction=0.25, seed=seed)


def test_strata_are_spread_evenly() -> None:
    people = {f"p{i:02d}": ("", None, "rare" if i < 10 else "common") for i in range(50)}
    splits = draw_splits(people, test_fraction=0.2, folds=5, validation_fraction=0.2, seed=1)
    rare = [splits[f"p{i:02d}"] for i in range(10)]
    assert sum(place.split == "test" for place in rare) == 2
    assert max(sum(place.fold == k for place in rare) for k in range(5)) == 2


def test_the_manifests_split_wins() -> None:
    people = {f"p{i}": ("test" if i < 2 else "", 1 if i == 5 else None, "") for i in range(10)}
    splits = draw_splits(people, test_fraction=0.5, folds=2, validation_fraction=0.2, seed=0)
    assert {p for p, place in splits.items() if place.split == "test"} == {"p0", "p1"}
    assert splits["p5"].fold == 1
    assert splits["p5"].origin == "manifest"


def test_too_few_patients_are_said_so() -> None:
    with pytest.raises(InputError, match="too few for 3 folds"):
        draw_splits(
            {"a": ("", None, ""), "b": ("", None, "")}, test_fraction=0, folds=3, validation_fraction=0.2, seed=0
        )


def test_manifests_of_ours_point_at_nothing_outside() -> None:
    for path in (ROOT / "data_manifests").glob("*.csv"):
        for row in read_table(path):
            assert not row["image"].startswith(("/", ".."))


def test_organs_that_share_values_overlap() -> None:
    regions = {"whole": {"values": [1, 2, 4]}, "core": {"values": [1, 4]}}
    study = parse_study({"modality": "mri", "organs": regions}, "s.yaml")
    assert study.overlapping
    assert parse_study(study.model_dump(mode="json"), "s.yaml") == study
    assert study.source_values() == {"whole": (1, 2, 4), "core": (1, 4)}
    assert len(set(study.values().values())) == 2


@pytest.mark.parametrize(
    ("organs", "said"),
    [
        ({"a": {"value": 1, "values": [1]}}, "value or values"),
        ({"a": {"values": [0, 1]}}, "above 0"),
        ({"a": {"values": [1, 2]}, "b": {"value": 2}}, "the same value: a and b"),
        ({"a": {"values": [1, 2]}, "b": {}}, "the same value: a and b"),
        ({"a": {"values": [1, 2]}, "b": {"values": [2, 1]}}, "would be one organ"),
    ],
)
def test_values_shared_by_accident_are_refused(organs: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_study({"modality": "mri", "organs": organs}, "s.yaml")


def test_regions_that_the_study_calls_exclusive_are_refused() -> None:
    regions = {"whole": {"values": [1, 2]}, "core": {"values": [1]}}
    with pytest.raises(InputError, match="overlapping"):
        parse_study({"modality": "mri", "organs": regions, "overlapping": False}, "s.yaml")
