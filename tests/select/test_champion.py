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
