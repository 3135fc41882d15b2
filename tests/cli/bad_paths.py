"""Runs commands on paths that cannot be used, in one process without root's powers; prints a line of JSON a trial.

Started by ``test_bad_paths.py``: ``python -m tests.cli.bad_paths FOLDER [FULL]``, FULL being a folder on a full disk.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.cli import main
from pipeline.formats.nifti.writer import write_nifti
from tests.predict.huge import write_champion

#: Command → its words; ``{}`` is the bad path, and the others are good ones.
INPUTS = {
    "ingest": "ingest {} --out {new}",
    "predict": "predict {} --model {model} --out {new}",
    "predict, model": "predict {volume} --model {} --out {new}",
    "evaluate, predictions": "evaluate {} {mask}",
    "evaluate, references": "evaluate {mask} {}",
    "export, scan": "export {} {mask} --organs 1=heart --out {new}",
    "export, mask": "export {scan} {} --organs 1=heart --out {new}",
    "info": "info {}",
    "rle detect": "rle detect {}",
    "rle decode": "rle decode {} --out {new}",
    "rle encode": "rle encode {} --out {new}/m.csv",
    "rle convert": "rle convert {} --to coco --out {new}/m.json",
    "manifest init": "manifest init {} --out {new}/m.csv",
    "manifest pseudonymise": "manifest pseudonymise {} --key-file {new}/key --out {new}/m.csv",
    "manifest pseudonymise, key": "manifest pseudonymise {table} --key-file {} --out {new}/m.csv",
}
OUTPUTS = {
    "ingest": "ingest {scan} --out {}",
    "predict": "predict {volume} --model {model} --out {}",
    "export": "export {scan} {mask} --organs 1=heart --out {}",
    "rle decode": "rle decode {runs} --out {}",
    "rle encode": "rle encode {mask} --out {}/m.csv",
    "rle convert": "rle convert {runs} --to coco --out {}/m.json",
    "manifest init": "manifest init {folder} --out {}/m.csv",
    "manifest pseudonymise": "manifest pseudonymise {table} --key-file {}/key --out {}/m.csv",
    "evaluate": "evaluate {mask} {mask} --csv {}/m.csv",
}
#: A study's name or a shard where there is none.
OTHERS = {
    "study that is not there": "plan --study nothing",
    "study that is a path": "plan --study ../nothing",
    "study called as the store is": "plan --study mlflow.db",
    "shard that is not there": "ingest --study small --shard 99",
    "no thread": "predict {scan} --model {model} --out {new} --threads 0",
    "version that is a path": "manifest add {folder} --study small --version ../..",
}
SECONDS = 60


def good_paths(place: Path) -> dict[str, Path]:
    """A scan, its mask, a table, run lengths and a model that every command can use."""
    place.mkdir(parents=True)
    folder = place / "folder"
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = {"folder": folder, "scan": folder / "scan.png", "mask": place / "mask.png", "model": place / "model"}
    paths |= {
        "runs": place / "runs.csv",
        "table": place / "table.csv",
        "new": place / "new",
        "volume": place / "scan.nii.gz",
    }
    Image.fromarray(rng.integers(0, 255, (24, 20), np.uint8)).save(paths["scan"])
    write_nifti(paths["volume"], rng.integers(0, 999, (24, 22, 20)).astype(np.int16), np.eye(4), "mm")
    mask = np.zeros((24, 20), np.uint8)
    mask[4:9, 3:12] = 1
    Image.fromarray(mask).save(paths["mask"])
    paths["table"].write_text("scan_id,patient_id,image\ns1,p1,a.png\n")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        sys.argv = ["organseg", "rle", "encode", str(paths["mask"]), "--out", str(paths["runs"])]
        main()
    write_champion(paths["model"])
    (place / "configs").mkdir()
    (place / "configs" / "small.yaml").write_text("modality: xray\norgans: [heart]\n")
    (place / "data_manifests").mkdir()
    (place / "data_manifests" / "small.csv").write_text("scan_id,patient_id,image\ns1,p1,folder/scan.png\n")
    return paths


def bad_inputs(place: Path) -> Iterator[tuple[str, Path]]:
    """Paths that hold nothing to be read."""
    place.mkdir()
    yield "absent", place / "absent.png"
    (place / "folder").mkdir()
    yield "empty folder", place / "folder"
    for name, content in {
        "empty": b"",
        "text": b"no image\n",
        "binary": bytes(range(256)) * 9,
        "deep": b"[" * 200_000,
        "nul": b"a,b\n\0,1\n",
    }.items():
        for ending in ("png", "csv", "json", "nii.gz", "dcm"):
            path = place / f"{name}.{ending}"
            path.write_bytes(content)
            yield f"{name} {ending}", path
    (place / "unreadable.png").write_bytes(b"x")
    (place / "unreadable.png").chmod(0)
    yield "unreadable", place / "unreadable.png"
    (place / "closed").mkdir(mode=0)
    yield "unreadable folder", place / "closed"
    os.mkfifo(place / "pipe.png")
    yield "pipe", place / "pipe.png"
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(place / "socket.png"))
    yield "socket", place / "socket.png"
    yield "device", Path("/dev/zero")
    yield "too long", place / ("x" * 300)


def bad_outputs(place: Path, full: Path | None) -> Iterator[tuple[str, Path]]:
    """Places where nothing can be written."""
    place.mkdir()
    (place / "taken").write_bytes(b"")
    yield "a file", place / "taken"
    (place / "closed").mkdir(mode=0o500)
    yield "unwritable", place / "closed" / "out"
    yield "too long", place / ("x" * 300)
    if full is not None:
        yield "full", full / "out"


def trial(words: str, bad: Path | None, paths: dict[str, Path]) -> dict[str, object]:
    """What a command ends with and says."""
    filled = [word.replace("{}", str(bad)) for word in words.split()]
    argv = [word if "{" not in word else word.format(**paths) for word in filled]
    said, told = io.StringIO(), io.StringIO()
    sys.argv = ["organseg", *argv]
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
            main()
        code: object = 0
    except SystemExit as error:
        code = error.code
    except TimeoutError:
        code = "hung"
    finally:
        signal.alarm(0)
    return {"code": code or 0, "said": told.getvalue()[-600:], "out": said.getvalue()[-600:]}


def hung(*_: object) -> None:
    """What the alarm does."""
    raise TimeoutError


def run(place: Path, full: Path | None, tell: Callable[[dict[str, object]], None]) -> None:
    """Try every command on every path."""
    signal.signal(signal.SIGALRM, hung)
    paths = good_paths(place / "good")
    os.chdir(place / "good")
    for kind, path in bad_inputs(place / "in"):
        for command, words in INPUTS.items():
            tell({"command": command, "kind": kind, "side": "in", **trial(words, path, paths)})
    for kind, path in bad_outputs(place / "out", full):
        for command, words in OUTPUTS.items():
            tell({"command": command, "kind": kind, "side": "out", **trial(words, path, paths)})
    for kind, words in OTHERS.items():
        tell({"command": "others", "kind": kind, "side": "in", **trial(words, None, paths)})


if __name__ == "__main__":
    stdout = sys.stdout
    run(
        Path(sys.argv[1]),
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
        lambda row: print(json.dumps(row), file=stdout, flush=True),
    )
