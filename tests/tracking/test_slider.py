"""Pictures of fixed cases along a training: each stands once in the slider, under a name that MLflow's UI reads."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.core.journal import Journal
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.tracking import jobs
from pipeline.tracking.names import safe_part
from pipeline.tracking.store import Store
from tests.tracking.studies import write_journal
from tests.tracking.test_delivery import begin, deliver, runs

Make = Callable[..., tuple[Study, StudyPaths]]


def write_pictures(journal: Path, *steps: int, name: str = "validation scan s2") -> None:
    (journal.parent / "pictures").mkdir(exist_ok=True)
    with Journal(journal) as handle:
        for step in steps:
            file = f"pictures/{safe_part(name)}-{step}.png"
            Image.new("RGB", (400, 300), (step, 0, 0)).save(journal.parent / file)
            handle.write("picture", step=step, name=name, file=file)


def images(store: Store, run: Any) -> list[str]:
    return [Path(item.path).name for item in store.client.list_artifacts(run.info.run_id, "images")]


def test_pictures_of_fixed_cases_become_a_slider_once(make: Make) -> None:
    study, paths = make()
    journal, job = begin(study, paths)
    write_journal(journal, end=False)
    write_pictures(journal, 0, 50, name="fixed cases/s2 (a)")
    for _ in range(2):
        store = deliver(study, paths)
        jobs.update_job(paths, job["key"], delivered=None)
    child = runs(store)["unet · fold 0"]
    names = images(store, child)
    assert len(names) == 4
    assert sum("+compressed.webp" in name for name in names) == 2
    assert all(name.startswith("fixed cases~s2 a+step+") for name in names)
    assert child.data.tags["mlflow.loggedImages"] == "True"


def test_a_resumed_training_repeats_pictures_and_none_is_doubled(make: Make) -> None:
    study, paths = make()
    journal, _ = begin(study, paths)
    write_journal(journal, range(0, 60, 10), end=False)
    write_pictures(journal, 20, 40)
    first = images(store := deliver(study, paths), runs(store)["unet · fold 0"])
    begin(study, paths)
    # Step 40 again, at another time, and one that is new.
    write_journal(journal, range(40, 100, 10), end=False)
    write_pictures(journal, 40, 80)
    with Journal(journal) as handle:
        handle.write("end", step=90, seconds=1.0, reason="done")
    after = images(store := deliver(study, paths), runs(store)["unet · fold 0"])
    assert set(first) < set(after)
    pngs = [name for name in after if name.endswith(".png")]
    assert [name.split("+timestamp")[0] for name in pngs] == [
        f"validation scan s2+step+{step}" for step in (20, 40, 80)
    ]
    assert len(after) == 2 * len(pngs)


def test_pictures_are_named_as_mlflow_names_them(make: Make) -> None:
    """The UI's slider reads key, step and time from the file's name."""
    study, paths = make()
    journal, _ = begin(study, paths)
    write_journal(journal)
    write_pictures(journal, 50, name="cases/s2")
    store = deliver(study, paths)
    run = runs(store)["unet · fold 0"]
    own = set(images(store, run))
    with store.current():
        store.client.log_image(run.info.run_id, Image.new("RGB", (400, 300)), key="cases/s2", step=50)
    shapes = [
        sorted(re.sub(r"timestamp\+\d{13}\+[0-9a-f-]{36}", "timestamp", name) for name in names)
        for names in (own, set(images(store, run)) - own)
    ]
    assert shapes[0] == shapes[1]
    assert len(shapes[0]) == 2
