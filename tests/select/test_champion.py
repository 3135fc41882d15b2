"""The champion's description and folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import select
from pipeline.core.errors import InputError
from pipeline.core.paths import StudyPaths
from pipeline.inference.champion import Champion, Member, member_plan, read_champion
from pipeline.inference.postprocessing import OrganSteps
from tests.predict.studies import make_study


def champion() -> Champion:
    return Champion(
        name="unet",
        study="small",
        modality="mri",
        organs=["left", "right"],
        overlapping=False,
        colors={"left": "#ff0000", "right": "#00ff00"},
        mirror_pairs=[("left", "right")],
        members=[Member(model="unet", fold=0, folder="members/unet-fold0")],
        postprocessing={"left": OrganSteps(largest_component=True, smallest=2.5), "right": OrganSteps(threshold=0.4)},
        evidence={"rule": "x", "candidates": [{"models": ["unet"], "dice": 0.9, "low": None}]},
    )


def test_round_trip(tmp_path: Path) -> None:
    champion().write(tmp_path / "champion.yaml")
    assert read_champion(tmp_path) == champion()
    assert champion().thresholds() == {"right": 0.4}


def test_unknown_keys_and_absent_files_are_refused(tmp_path: Path) -> None:
    champion().write(tmp_path / "champion.yaml")
    text = (tmp_path / "champion.yaml").read_text().replace("mirror:", "mirrored:")
    (tmp_path / "champion.yaml").write_text(text)
    with pytest.raises(InputError, match="did you mean 'mirror"):
        read_champion(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_champion(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="does not exist"):
        member_plan(tmp_path)


def test_a_study_that_names_a_model_takes_it_over(tmp_path: Path) -> None:
    source = tmp_path / "elsewhere"
    (source / "members" / "unet-fold0").mkdir(parents=True)
    (source / "members" / "unet-fold0" / "model.json").write_text("{}")
    champion().write(source / "champion.yaml")
    paths = StudyPaths("applied", tmp_path)
    study = make_study(model=str(source))
    select.run(study, paths)
    assert read_champion(paths.champion) == read_champion(paths.champion_yaml) == champion()
    assert (paths.champion / "members" / "unet-fold0" / "model.json").is_file()
    other = make_study(model=str(source), organs=["left", "heart"])
    with pytest.raises(InputError, match="organs are left, heart"):
        select.run(other, paths)
    with pytest.raises(InputError, match="is for mri"):
        select.run(make_study(model=str(source), modality="ct"), paths)


def packed(folder: Path) -> Champion:
    """A champion's folder as ``select`` packs it: a member's files, and the sealed description."""
    member = folder / "members" / "unet-fold0"
    member.mkdir(parents=True)
    (member / "model.json").write_text("{}")
    (member / "model.onnx").write_bytes(b"network")
    made = champion().sealed(folder)
    made.write(folder / "champion.yaml")
    return made


def test_every_file_is_listed_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    made = packed(tmp_path)
    assert set(made.files) == {"members/unet-fold0/model.json", "members/unet-fold0/model.onnx"}
    read = read_champion(tmp_path)
    read.verify(tmp_path, read.files)
    (tmp_path / "members" / "unet-fold0" / "model.onnx").write_bytes(b"another")
    with pytest.raises(InputError, match="another file than") as caught:
        read.verify(tmp_path, read.files)
    assert caught.value.remedy
    (tmp_path / "members" / "unet-fold0" / "more.onnx").write_bytes(b"more")
    with pytest.raises(InputError, match="not among the files"):
        read.verify(tmp_path, ["members/unet-fold0/more.onnx"])


def test_a_description_that_select_did_not_write_is_known(tmp_path: Path) -> None:
    packed(tmp_path)
    assert read_champion(tmp_path).is_untouched()
    path = tmp_path / "champion.yaml"
    path.write_text(path.read_text().replace("threshold: 0.4", "threshold: 0.3"))
    assert not read_champion(tmp_path).is_untouched()
    assert not champion().is_untouched()


@pytest.mark.parametrize("word", ["../x", "/etc/x", "a/b", "..", "", "a\nb", "a\\b", ".hidden"])
def test_names_that_are_paths_are_refused(tmp_path: Path, word: str) -> None:
    made = champion().model_copy(update={"organs": [word, "right"], "mirror_pairs": []})
    made.write(tmp_path / "champion.yaml")
    with pytest.raises(InputError, match="cannot be a name"):
        read_champion(tmp_path)


@pytest.mark.parametrize("folder", ["../x", "/etc", "members/../../x", ""])
def test_members_lie_in_the_champions_folder(tmp_path: Path, folder: str) -> None:
    made = champion().model_copy(update={"members": [Member.model_construct(model="unet", fold=0, folder=folder)]})
    made.write(tmp_path / "champion.yaml")
    with pytest.raises(InputError, match="leaves its folder"):
        read_champion(tmp_path)


def test_another_version_is_refused_in_one_line(tmp_path: Path) -> None:
    champion().model_copy(update={"format": 9}).write(tmp_path / "champion.yaml")
    with pytest.raises(InputError, match="version 9 of its form"):
        read_champion(tmp_path)
