"""The house stands as designed: imports point down, stages meet in files, heavy packages stay where they belong."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline"
STAGES = ("ingest", "rle", "plan", "preprocess", "train", "predict", "evaluate", "select", "export", "report", "demo")
# Lower layers first; a module may import its own room and those of lower layers. Rooms of one layer do not meet.
FLOORS = (
    ("core",),
    ("imaging", "augmentation", "networks"),
    ("formats", "metrics", "inference"),
    ("quality",),
    ("tracking",),
    STAGES,
    ("cli",),
)
LAYERS = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
TORCH_ALLOWED = ("train", "predict", "select", "networks", "augmentation", "inference")
NO_TORCH_PROCESS = ("ingest", "rle", "plan", "preprocess", "evaluate", "export", "report", "demo")


def modules() -> Iterator[tuple[Path, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        if len(parts) > 1:
            yield path, parts[0]


def imports(path: Path, top_level_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in tree.body if top_level_only else ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_has_its_floor() -> None:
    assert {home for _, home in modules()} == set(LAYERS)


def test_arrows_never_point_up_and_rooms_of_a_floor_do_not_meet() -> None:
    wrong = []
    for path, home in modules():
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "pipeline" or len(parts) < 2 or parts[1] not in LAYERS:
                continue
            if parts[1] != home and LAYERS[parts[1]] >= LAYERS[home]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_torch_and_monai_stay_with_those_who_train_and_predict() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, home in modules()
        if home not in TORCH_ALLOWED
        for name in imports(path)
        if name.split(".")[0] in {"torch", "monai"}
    ]
    assert wrong == []


def test_mlflow_stays_in_tracking_and_waits_until_it_is_needed() -> None:
    everywhere = [(path, home, name) for path, home in modules() for name in imports(path)]
    assert [str(p) for p, home, name in everywhere if name.split(".")[0] == "mlflow" and home != "tracking"] == []
    eager = [str(path) for path, _ in modules() if any(n.split(".")[0] == "mlflow" for n in imports(path, True))]
    assert [path for path in eager if "/tracking/" not in path] == []


def loaded_by(code: str) -> set[str]:
    code += "\nimport sys; print(' '.join(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


@pytest.mark.parametrize("stage", NO_TORCH_PROCESS)
def test_stages_without_networks_load_no_torch(stage: str) -> None:
    assert not loaded_by(f"import pipeline.{stage}") & {"torch", "monai", "mlflow"}


def test_help_loads_nothing_heavy() -> None:
    heavy = {"torch", "monai", "mlflow", "pandas", "SimpleITK", "numpy", "nibabel", "pydantic", "scipy"}
    assert not loaded_by("import pipeline.cli") & heavy


def test_no_import_cycles() -> None:
    """Imports inside functions count too: a circle that waits for a call is still a circle."""
    graph: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = {target for target in imports(path) if target.startswith("pipeline")}
    for targets in graph.values():
        targets.intersection_update(graph)
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for target in graph[name] - {name}:
                # A package's own __init__ is loaded before its modules, whoever asks.
                if not name.startswith(f"{target}."):
                    visit(target, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_no_file_and_no_function_is_too_long_to_read_at_once() -> None:
    long = []
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "organseg").rglob("*.py")]:
        text = path.read_text()
        if (lines := text.count("\n")) > 400:
            long.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and (lines := node.end_lineno - node.lineno + 1) > 60:
                long.append(f"{path.relative_to(ROOT)}: {node.name} has {lines} lines")
    assert long == []
