"""``import organseg``: what it gives, what it costs, and what it does where another ``pipeline`` comes first."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import organseg
from tests.test_layers import loaded_by

HEAVY = {
    "torch",
    "monai",
    "mlflow",
    "pandas",
    "SimpleITK",
    "numpy",
    "nibabel",
    "pydantic",
    "scipy",
    "typer",
    "snakemake",
}


def python(*words: str, cwd: Path, root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    variables = {**kept, "PYTHONPATH": str(root), **environment}
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=variables, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture
def hidden(tmp_path: Path) -> Path:
    """A working folder whose own ``pipeline.py`` comes before ours."""
    (tmp_path / "pipeline.py").write_text("raise RuntimeError('the module of somebody else was run')\n")
    return tmp_path


def test_importing_it_loads_nothing_heavy() -> None:
    assert not loaded_by("import organseg") & HEAVY


def test_reading_a_config_loads_neither_arrays_nor_networks() -> None:
    assert not loaded_by("import organseg; organseg.load_study('demo_xray')") & {"torch", "monai", "mlflow", "pandas"}


@pytest.mark.parametrize("name", organseg.__all__)
def test_every_name_that_is_promised_is_there_and_explained(name: str) -> None:
    value = getattr(organseg, name)
    assert name == "__version__" or (value.__doc__ and len(value.__doc__) > 20)


def test_type_checkers_see_the_same_names_as_the_program(root: Path) -> None:
    tree = ast.parse((root / "organseg" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: f"{node.module}" for node in block.body for alias in node.names}  # type: ignore[attr-defined]
    assert seen == {**organseg._HOMES, "rle": "organseg"}
    assert sorted(seen) == sorted(organseg.__all__) == dir(organseg)
    assert (root / "organseg" / "py.typed").is_file()


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        organseg.segment  # noqa: B018


def test_another_pipeline_in_the_working_folder_is_named_with_a_remedy(hidden: Path, root: Path) -> None:
    done = python("-c", "import organseg", cwd=hidden, root=root)
    assert done.returncode == 1
    assert f"finds another one first: {hidden / 'pipeline.py'}" in done.stderr
    assert "Rename that file or folder" in done.stderr
    assert python("-c", "import organseg", cwd=hidden, root=root, PYTHONSAFEPATH="1").returncode == 0


def test_another_pipeline_that_is_loaded_already_is_named_too(tmp_path: Path, root: Path) -> None:
    (tmp_path / "pipeline.py").write_text("")
    done = python("-c", "import pipeline, organseg", cwd=tmp_path, root=root)
    assert done.returncode == 1
    assert f"finds another one first: {tmp_path / 'pipeline.py'}" in done.stderr


def test_the_command_works_beside_another_pipeline(hidden: Path, root: Path) -> None:
    done = python("-m", "organseg", "info", "nothing.nii.gz", cwd=hidden, root=root)
    assert done.returncode == 2
    assert done.stderr.startswith("organseg: nothing.nii.gz: the file does not exist")


def test_processes_that_the_command_starts_do_not_find_it_either(hidden: Path, root: Path) -> None:
    code = "import os, subprocess, sys; sys.orig_argv = ['python', '-m', 'organseg']; import organseg._ours"
    code += "; subprocess.run([sys.executable, '-m', 'pipeline', '--help'], check=True)"
    assert python("-c", code, cwd=hidden, root=root).returncode == 0


def test_a_session_of_the_user_keeps_its_own_pipeline(tmp_path: Path, root: Path) -> None:
    """A package of the user's that is started with ``-m`` is no program of ours."""
    (tmp_path / "pipeline.py").write_text("")
    (tmp_path / "mine.py").write_text("import organseg")
    done = python("-m", "mine", cwd=tmp_path, root=root)
    assert done.returncode == 1
    assert "needs its own package pipeline" in done.stderr


@pytest.mark.slow
def test_torchrun_starts_the_command_beside_another_pipeline(hidden: Path, root: Path) -> None:
    words = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "organseg", "schema")
    done = python(*words, cwd=hidden, root=root)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count('"$defs": {') == 2
