"""The embedded store's file: there whole or not at all, set aside where it is broken, of a schema that was tested."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.tracking import deliver_fold, store_sqlite
from pipeline.tracking.store import Store, TrackingError
from tests.tracking.studies import write_journal

Make = Callable[..., tuple[Study, StudyPaths]]


AGAIN = """
import sys
from pathlib import Path
from pipeline.tracking import deliver_fold
from pipeline.tracking.store import Store
from tests.tracking.studies import make_study
study, paths = make_study(Path(sys.argv[1]), write=False)
assert deliver_fold(study, paths, "unet", 0, print)
assert "unet · fold 0" in [run.info.run_name for run in Store.of(study, paths).client.search_runs(["1"])]
"""


def database(paths: StudyPaths) -> Path:
    return paths.root / "results" / "mlflow.db"


def test_the_installed_schema_is_one_that_was_looked_at() -> None:
    newest = store_sqlite.installed_schemas()[0]
    assert newest in store_sqlite.KNOWN_SCHEMAS, "look at PLACES and at the tags anew, then add the schema"


def test_every_place_is_in_the_tables(make: Make) -> None:
    _, paths = make()
    with closing(sqlite3.connect(database(paths))) as connection:
        for table, column in store_sqlite.PLACES:
            assert column in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def test_a_store_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "results" / "mlflow.db"

    def dies(*names: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        store_sqlite.make(file)
    assert not file.exists()
    monkeypatch.undo()
    store_sqlite.make(file)
    assert not store_sqlite.is_broken(file)
    assert sorted(path.name for path in file.parent.iterdir()) == ["mlflow.db"]


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "half"])
def test_a_broken_store_is_set_aside_and_filled_from_the_journals(make: Make, damage: str, root: Path) -> None:
    study, paths = make()
    write_journal(paths.model("unet", 0) / "journal.jsonl")
    assert deliver_fold(study, paths, "unet", 0)
    file = database(paths)
    content = file.read_bytes()
    for part in file.parent.glob("mlflow.db-*"):
        part.unlink()
    if damage == "half":  # killed while its tables were made
        file.unlink()
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    else:
        file.write_bytes({"empty": b"", "text": b"no database" * 1000, "cut": content[:20000]}[damage])
    # In a process of its own, as after a crash: this one still has the file open.
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, str(paths.root)], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "set aside" in done.stdout
    assert list(file.parent.glob("mlflow.db.broken-*"))


def test_a_store_of_somebody_elses_is_never_set_aside(make: Make, tmp_path: Path) -> None:
    study, paths = make()
    other = tmp_path / "shared.db"
    other.write_bytes(b"no database" * 1000)
    named = study.model_copy(update={"tracking": study.tracking.model_copy(update={"uri": f"sqlite:///{other}"})})
    with pytest.raises(TrackingError):
        _ = Store.of(named, paths).client
    assert other.read_bytes() == b"no database" * 1000
