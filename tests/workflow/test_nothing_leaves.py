"""No command of ours looks anything up, connects anywhere but loopback, or writes outside the project and TMPDIR.

Python's audit hooks do not see the sockets of C++ libraries (ONNX Runtime's telemetry was found so), hence strace.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from place import ROOT, environment, make_place

CALLS = (
    "connect,sendto,sendmsg,sendmmsg,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,"
    "symlinkat,truncate,mknod,mknodat,unlink,unlinkat,rmdir"
)
WORKFLOW = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", "study=demo_xray"]
#: Where every program may write; Snakemake's cache of sources and byte code are moved under TMPDIR.
ANYWHERE = ("/dev/", "/proc/self/", "/proc/thread-self/")
FLAGS = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")
CALL = re.compile(r"^\d+ +(\w+)\((.*)$")
#: strace breaks a call in two where another process comes between.
UNFINISHED = " <unfinished ...>"
RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
PATH = re.compile(r'(?:AT_FDCWD<([^>]*)>, |\d+<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')

SCAN = "results/demo_xray/demo/images/{scan}"
#: Each command, as a person would type it after the workflow has run.
COMMANDS = (
    ("schema",),
    ("info", "--study", "demo_xray"),
    ("info", SCAN),
    ("runs", "--study", "demo_xray"),
    ("overview", "--study", "demo_xray", "--out", "overview.png"),
    ("predict", SCAN, "--model", "results/demo_xray/champion", "--out", "one"),
    (
        "predict",
        SCAN,
        "--model",
        "models:/organseg-demo_xray@champion",
        "--out",
        "two",
    ),
    ("evaluate", "one/nifti", "two/nifti"),
    ("ingest", SCAN, "--out", "read"),
    ("rle", "detect", "results/demo_xray/masks.rle.csv"),
    ("rle", "stats", "results/demo_xray/masks.rle.csv", "--out", "stats.csv"),
    ("rle", "decode", "results/demo_xray/masks.rle.csv", "--out", "painted"),
    ("manifest", "init", "results/demo_xray/demo", "--out", "drafted.csv"),
    ("manifest", "check", "--study", "demo_xray"),
    ("clean", "--study", "demo_xray", "--yes"),
)


def traced(place: Path, words: list[str], trace: Path, home: Path, **more: str) -> subprocess.Popen[str]:
    """Start a command under strace, as a user would: no variable of ours or of MLflow's is set."""
    (place.parent / "tmp").mkdir(exist_ok=True)
    quiet = {"MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "ORT_DISABLE_TELEMETRY", "CI", "XDG_CACHE_HOME"}
    # torch names its compiler's cache to its children; the tests' own process may have loaded it.
    quiet |= {"TORCHINDUCTOR_CACHE_DIR"}
    kept = {name: value for name, value in environment().items() if name not in quiet}
    own = {"HOME": str(home), "TMPDIR": str(place.parent / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        ["strace", "-f", "-qq", "-y", "-s", "4096", "--seccomp-bpf", "-e", f"trace={CALLS}", "-o", str(trace), *words],
        cwd=place,
        env={**kept, **own, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def calls(trace: Path) -> Iterator[tuple[str, str]]:
    """Each call and what follows its name; one that never returned comes last."""
    begun: dict[str, str] = {}
    for line in trace.read_text(errors="replace").splitlines():
        if line.endswith(UNFINISHED):
            begun[line.split(" ", 1)[0]] = line.removesuffix(UNFINISHED)
            continue
        if (rest := RESUMED.match(line)) and rest[1] in begun:
            line = begun.pop(rest[1]) + rest[2]
        if found := CALL.match(line):
            yield found[1], found[2]
    for line in begun.values():
        if found := CALL.match(line):
            yield found[1], found[2]


def talks(trace: Path) -> list[str]:
    """Whom it tried to reach: every address but loopback's, and loopback's when it is asked for names (port 53)."""
    wrong = []
    for name, rest in calls(trace):
        if "sa_family=AF_INET" in rest:
            loopback = 'inet_addr("127.' in rest or '"::1"' in rest or "::ffff:127." in rest
            if not loopback or "htons(53)" in rest:
                wrong.append(f"{name}({rest}")
    return wrong


def writes(trace: Path, allowed: Path, begun: Path) -> list[str]:
    """Files outside a folder that it made, changed or removed, or tried to; calls without a folder start at `begun`."""
    wrong = []
    for name, rest in calls(trace):
        if name in {"connect", "sendto", "sendmsg", "sendmmsg"}:
            continue
        if name in {"open", "openat"} and not FLAGS.search(rest):
            continue
        for cwd, folder, path in PATH.findall(rest):
            whole = os.path.normpath(os.path.join(begun, cwd or folder, path))
            if not whole.startswith((f"{allowed}/", *ANYWHERE)) and not ("EEXIST" in rest and "mkdir" in name):
                wrong.append(f"{name} {whole}")
    return wrong


@pytest.fixture(scope="module")
def strace(tool) -> None:
    tool("strace")


def ended(process: subprocess.Popen[str], codes: tuple[int, ...] = (0,)) -> None:
    said, _ = process.communicate(timeout=600)
    assert process.returncode in codes, said[-3000:]


@pytest.mark.slow
def test_the_workflow_and_every_command_are_silent_and_stay_at_home(strace: None, tmp_path: Path) -> None:
    home, place = tmp_path / "home", make_place(tmp_path / "place")
    home.mkdir()
    trace = tmp_path / "trace"
    ended(
        traced(place, [sys.executable, "-m", "snakemake", "--cores", "2", "--config", "study=demo_xray"], trace, home)
    )
    # The trace saw the workflow at work, and the check sees what it must: the report was written.
    assert any("report.html" in rest for _, rest in calls(trace))
    assert talks(trace) == []
    assert writes(trace, tmp_path, place) == []
    scan = next((place / "results/demo_xray/demo/images").glob("*.dcm")).name
    for words in COMMANDS:
        words = tuple(word.format(scan=scan) for word in words)
        ended(traced(place, [sys.executable, "-m", "pipeline", *words], trace, home), (0, 3))
        assert talks(trace) == [], words
        assert writes(trace, tmp_path, place) == [], words
    assert list(home.iterdir()) == []


@pytest.mark.slow
@pytest.mark.server
def test_the_ui_opens_the_right_page_on_loopback_and_calls_nobody(strace: None, tmp_path: Path) -> None:
    home, place = tmp_path / "home", tmp_path / "place"
    home.mkdir()
    make_store(place)
    server = traced(place, [sys.executable, "-m", "pipeline", "ui"], tmp_path / "trace", home)
    assert server.stdout is not None
    try:
        page = next(line for line in server.stdout if line.startswith("Open "))
        address, _, rest = page.removeprefix("Open ").partition("/#/experiments/")
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(
            f"{address}/ajax-api/2.0/mlflow/experiments/get?experiment_id={rest.split('/')[0]}"
        ) as answer:
            assert json.load(answer)["experiment"]["name"] == "chest"
        time.sleep(5)  # what calls home does so in the background
    finally:
        os.killpg(server.pid, signal.SIGINT)
        server.communicate(timeout=60)
    assert talks(tmp_path / "trace") == []
    assert writes(tmp_path / "trace", tmp_path, place) == []


def make_store(place: Path) -> None:
    """A study whose training was tracked."""
    place.mkdir()
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.tracking.studies import make_study, write_champion, write_metrics, write_scans\n"
        "from pipeline.tracking import deliver_champion, deliver_report\n"
        "study, paths = make_study(Path(sys.argv[1])); write_scans(study, paths); write_champion(study, paths)\n"
        "write_metrics(paths, 'oof', {'unet': {f's{i}': 0.8 for i in range(2, 6)}})\n"
        "assert deliver_champion(study, paths)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(place)], env=environment(), cwd=ROOT, check=True)


@pytest.mark.slow
def test_a_home_that_cannot_be_written_is_no_hindrance(tmp_path: Path) -> None:
    place = make_place(tmp_path / "place")
    # Nothing can be made below a device, whoever asks.
    without = {**environment(), "HOME": "/dev/null"}
    without.pop("XDG_CACHE_HOME", None)
    words = [*WORKFLOW, "--until", "plan"]
    done = subprocess.run(words, cwd=place, env=without, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_check_sees_a_lookup_a_call_and_a_stray_file(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    lines = (
        '7 connect(5<socket:[1]>, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("20.1.2.3")}, 16) = -1',
        '7 connect(5<socket:[1]>, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.1")}, 16) = 0',
        '7 connect(5<socket:[1]>, {sa_family=AF_INET, sin_port=htons(5000), sin_addr=inet_addr("127.0.0.1")}, 16) = 0',
        f'7 openat(AT_FDCWD<{tmp_path}>, "inside", O_WRONLY|O_CREAT, 0666) = 3',
        f'7 openat(AT_FDCWD<{tmp_path}>, "../outside", O_WRONLY|O_CREAT <unfinished ...>',
        '8 mkdir("/tmp/there", 0777 <unfinished ...>',
        '9 mkdir("/tmp/new", 0777 <unfinished ...>',
        "8 <... mkdir resumed>) = -1 EEXIST (File exists)",
        "9 <... mkdir resumed>) = 0",
        '7 mkdir("/home/somebody/.cache", 0777) = -1 EACCES (Permission denied)',
        '7 openat(AT_FDCWD</x>, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 3',
    )
    trace.write_text("\n".join(lines))
    assert len(talks(trace)) == 2
    found = [f"openat {tmp_path.parent}/outside", "mkdir /tmp/new", "mkdir /home/somebody/.cache"]
    assert sorted(writes(trace, tmp_path, tmp_path)) == sorted(found)
