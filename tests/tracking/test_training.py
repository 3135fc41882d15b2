"""What a training's journal says to people: the headline of its run, and the curves of a model's folds."""

import math
import re
from typing import Any
from xml.etree import ElementTree

from pipeline.tracking.events import training_note
from pipeline.tracking.pictures import curves_picture, spread_picture
from pipeline.tracking.results import scan_table

ORGANS = ["left lung (upper)", "heart"]


def journal(steps: int = 100, loss: float = 1.0) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [{"kind": "start", "steps": steps, "device": "cpu"}]
    for step in range(10, steps + 1, 10):
        events.append({"kind": "step", "step": step, "loss": loss / step})
        if step % 50 == 0:
            dice = {ORGANS[0]: step / 200, ORGANS[1]: None}
            events.append({"kind": "validation", "step": step, "dice": dice, "mean": step / 200, "scans": 7})
    return [*events, {"kind": "end", "step": steps, "seconds": 12.4}]


def test_the_headline_is_that_of_the_last_validation() -> None:
    lines = training_note(journal(), ORGANS).splitlines()
    assert lines == [
        "| organ | Dice, validation |",
        "| --- | --- |",
        "| **mean of organs** | 0.500 |",
        "| left lung (upper) | 0.500 |",
        "| heart | – |",
        "",
        "Step 100 of 100, 7 scans, trained 12 s, device cpu.",
    ]


def test_a_training_that_was_cut_off_says_how_far_it_came() -> None:
    events = journal()
    assert training_note([e for e in events if e["kind"] != "validation"], ORGANS) == ""
    note = training_note([*events[:-3], *journal()[:1]], ORGANS)
    assert "Step 50 of 100" in note
    assert "continued 1 ×" in note
    assert "trained" not in note


def test_curves_stay_inside_their_panels_and_leave_out_what_is_no_number() -> None:
    broken = [*journal(loss=50), {"kind": "step", "step": 100, "loss": math.nan}]
    # A resumed training repeats a step; it stands once.
    picture = curves_picture({0: journal(), 1: [*broken, *journal(loss=50)[1:3]]}, "Trainings of a <b>")
    lines = [
        element.attrib["d"].replace("M", "L").split("L")[1:]
        for element in ElementTree.fromstring(picture).iter()
        if element.attrib.get("aria-roledescription") == "line mark"
    ]
    assert [len(line) for line in lines] == [10, 9, 2, 2]
    places = [tuple(map(float, point.split(","))) for line in lines for point in line]
    assert all(0 <= x <= 300 and 0 <= y <= 190 for x, y in places)
    dice = lines[2]
    assert float(dice[0].split(",")[1]) > float(dice[1].split(",")[1]), "a better Dice stands higher"
    assert "fold 1" in picture
    assert not re.search(r"nan|inf", picture, re.IGNORECASE)


def test_every_scan_is_a_dot_and_every_organ_has_a_median() -> None:
    rows = [
        *({"organ": organ, "dice": dice} for organ in ORGANS for dice in ("0.8", "0.9", "0.9", "")),
        {"organ": "mean", "dice": "0.8"},
    ]
    picture = spread_picture(rows, [*ORGANS, "spleen"], {ORGANS[0]: "#0072b2"}, "Dice of a <b>")
    root = ElementTree.fromstring(picture)
    marks = [element.attrib.get("aria-roledescription") for element in root.iter()]
    assert (marks.count("circle"), marks.count("tick")) == (6, 2)
    assert all(name in picture for name in (*ORGANS, "spleen", "#0072b2"))


def test_folds_without_a_step_yet_can_be_drawn() -> None:
    assert ElementTree.fromstring(curves_picture({0: [{"kind": "start"}]}, "")) is not None


def test_in_the_table_of_scans_figures_are_numbers_and_names_stay_text() -> None:
    rows = [{"scan_id": "007", "model": "unet", "organ": "1", "dice": dice, "site": "A"} for dice in ("0.5", "")]
    table = scan_table(rows)
    assert list(table["scan_id"]) == ["007", "007"]
    assert list(table["organ"]) == ["1", "1"]
    assert list(table["site"]) == ["A", "A"]
    assert table["dice"].iloc[0] == 0.5
    assert math.isnan(table["dice"].iloc[1])
