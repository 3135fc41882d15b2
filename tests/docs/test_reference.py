"""The reference names what the code has, and nothing else."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from typing import Any

from pipeline.core import errors
from pipeline.core.paths import StudyPaths
from pipeline.core.quiet import QUIET
from pipeline.core.study import Study
from pipeline.tracking.env import PATIENCE
from pipeline.workflow import SETTINGS
from tests.docs.pages import ROOT, column

REFERENCE = ROOT / "docs" / "reference"
CODE = [path for package in ("pipeline", "organseg") for path in sorted((ROOT / package).rglob("*.py"))]


def hooks() -> Any:
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def variables_of_code() -> set[str]:
    """Environment variables that our code reads or sets, as far as their names stand in it."""
    found = set()
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Subscript) and _is_environ(node.value):
                found |= _text(node.slice)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_environ(node.func.value):
                found |= _text(node.args[0]) if node.args else set()
            elif isinstance(node, ast.Constant) and re.fullmatch(r"ORGANSEG_[A-Z_]+", str(node.value)):
                found.add(str(node.value))
    return found


def _is_environ(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "environ"


def _text(node: ast.expr) -> set[str]:
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def test_every_environment_variable_is_explained_and_exists() -> None:
    named = set(column(REFERENCE / "environment.md", "variable", "[A-Z_]+"))
    of_code = variables_of_code() - {"ORGANSEG_DEMO"}  # the maker's name in the demo's DICOM files
    assert len(of_code) > 12
    assert of_code - named - set(QUIET) - set(PATIENCE) == set(), "not on the page"
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    # Python's own tempfile reads this one.
    absent = {name for name in named - of_code - {"TMPDIR"} if not re.search(rf"environ[^\n]*{name}", tests)}
    assert absent == set(), "on the page and nowhere in the code"


def test_variables_that_silence_tools_are_on_the_page() -> None:
    page = hooks().on_page_markdown((REFERENCE / "environment.md").read_text())
    assert set(QUIET) | set(PATIENCE) <= set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE))


def test_every_key_of_a_config_is_on_the_page() -> None:
    keys = hooks().config_keys()
    expected = set(Study.model_fields)
    for name, many in (("organs", "organs.NAME"), ("models", "models.NAME")):
        section = {"organs": "Organ", "models": "ModelConfig"}[name]
        expected |= {f"{many}.{key}" for key in Study.model_json_schema()["$defs"][section]["properties"]}
    for name in ("ingest", "split", "budget", "evaluate", "select", "export", "tracking", "demo"):
        section = {"demo": "Demo"}.get(name, name.capitalize())
        expected |= {f"{name}.{key}" for key in Study.model_json_schema()["$defs"][section]["properties"]}
    assert set(keys) == expected
    assert len(keys) == len(set(keys))


def test_every_exit_code_is_on_the_page() -> None:
    of_code = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert {int(code) for code in column(REFERENCE / "exit-codes.md", "code", r"\d+")} == of_code


def test_every_stage_is_on_the_page_and_in_the_workflow() -> None:
    named = column(ROOT / "docs" / "concepts" / "study.md", "stage")
    folders = {path.name for path in (ROOT / "pipeline").iterdir() if (path / "__init__.py").is_file()}
    rules = set(re.findall(r"^rule (\w+):", (ROOT / "Snakefile").read_text(), re.MULTILINE))
    assert set(named) <= rules & (folders | {"rle"})
    assert set(SETTINGS) - {"demo"} <= set(named)
    helpers = {"all", "ingest_shard", "evaluate_shard", "predict_champion"}
    assert rules - helpers == set(named)


def test_every_place_of_a_study_is_on_the_page() -> None:
    page = (REFERENCE / "results.md").read_text()
    paths = StudyPaths("NAME")
    places = [getattr(paths, name) for name, value in vars(StudyPaths).items() if isinstance(value, property)]
    places += [paths.scan(0, "x").parent.parent, paths.mask(0, "x").parent.parent, paths.shard_manifest(0).parent]
    places += [paths.ingest(0).parent, paths.plan("x").parent, paths.preprocessed("x").parent]
    places += [paths.model("x", 0).parent.parent, paths.checkpoints("x").parent]
    places += [paths.predictions("oof", "x").parent, paths.predictions("test", "x").parent, paths.metrics("x").parent]
    absent = [
        str(place.relative_to(paths.results))
        for place in places
        if place != paths.results and f"`{place.relative_to(paths.results)}" not in page
    ]
    assert absent == []


def test_every_place_on_the_page_is_an_output_or_made_by_the_code() -> None:
    known = (ROOT / "Snakefile").read_text() + "\n".join(path.read_text() for path in CODE)
    for place in column(REFERENCE / "results.md", "`results/<study>/`", r"[\w./<>-]+"):
        last = place.rstrip("/").split("/")[-1]
        stem = last if "<" not in last else place.split("/")[0]
        assert stem.split("<")[0] in known, place


def test_every_public_name_is_documented() -> None:
    import organseg

    page = (REFERENCE / "python.md").read_text()
    named = set(re.findall(r"^::: organseg\.(\w+)$", page, re.MULTILINE))
    assert named == set(organseg.__all__) - {"rle", "__version__", "Study"}
    from organseg import rle

    named = set(re.findall(r"^::: organseg\.rle\.(\w+)$", page, re.MULTILINE))
    assert named == set(rle.__all__) - {"Scored"}


def test_every_column_of_a_manifest_is_on_the_page() -> None:
    from pipeline.core.manifest import KNOWN

    named = column(REFERENCE / "manifest.md", "column", r"[\w<>]+")
    assert set(KNOWN) | {"mask_<organ>"} == set(named)


def test_lists_that_pages_ask_for_exist() -> None:
    module = hooks()
    asked = {name for page in Path(ROOT, "docs").rglob("*.md") for name in module.MARK.findall(page.read_text())}
    assert asked == set(module.LISTS)
