"""A small study in a folder of its own, worked on by the real workflow."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
#: What may differ from one run to the next: logs, times, and what is keyed by them.
TIMES = ("logs", "benchmarks", "tracking", "checkpoints", "shards", "demo", "journal.jsonl")
TIMES += (".cache", ".locks")


def make_place(folder: Path, study: str = "demo_xray", **changes: object) -> Path:
    """Lay out a demo study cut down to seconds."""
    (folder / "configs").mkdir(parents=True)
    (folder / "data_manifests").mkdir()
    for name in ("Snakefile", "docs", "profiles", ".ci"):
        source = ROOT / name
        shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy(source, folder / name)
    config = yaml.safe_load((ROOT / "configs" / f"{study}.yaml").read_text())
    patch = [32, 32]
    config["demo"]["count"] = 8
    config["budget"] = {"steps": 6}
    config["models"] = {"unet": {"plan": {"patch": patch, "size": patch, "batch": 2, "network": SMALL}}}
    config["evaluate"]["bootstrap"] = 100
    config["export"] = {"formats": ["nifti", "rle", "overlays"]}
    config |= changes
    (folder / "configs" / f"{study}.yaml").write_text(yaml.safe_dump(config))
    return folder


SMALL = {"name": "unet", "features": [4, 8, 8]}


def environment() -> dict[str, str]:
    bin_folder = str(Path(sys.executable).parent)
    # What other tests of this process have set is none of the workflow's business.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ORGANSEG_", "MLFLOW_"))}
    return {**kept, "PATH": f"{bin_folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the workflow in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(folder: Path, *arguments: str) -> str:
    """Run the workflow to its end."""
    process = start(folder, *arguments)
    try:
        output, _ = process.communicate(timeout=900)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, output[-6000:]
    return output


def final_files(folder: Path, study: str = "demo_xray") -> dict[str, str]:
    """Every final file of a study, with a hash of what must not depend on when it was made."""
    results = folder / "results" / study
    found = {}
    for path in sorted(results.rglob("*")):
        parts = path.relative_to(results).parts
        if path.is_file() and not any(part in TIMES for part in parts):
            found["/".join(parts)] = hashlib.sha256(_without_times(path)).hexdigest()
    return found


def _without_times(path: Path) -> bytes:
    """A file's bytes without the columns and lines that say how long something took or when it was."""
    if path.suffix == ".csv":
        lines = [line.split(",") for line in path.read_text().splitlines()]
        kept = [
            i for i, name in enumerate(lines[0]) if not any(word in name for word in ("second", "images_per", "time"))
        ]
        return "\n".join(",".join(line[i] for i in kept if i < len(line)) for line in lines).encode()
    if path.name == "report.html":
        return b""
    return path.read_bytes()
