"""What the pages say to type: every command exists with its options, and what needs no trained model runs."""

from __future__ import annotations

import doctest
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from typer.main import get_command

from pipeline.cli import app
from pipeline.core.study import Study, parse_study
from tests.docs.pages import ROOT, Block, blocks, commands, name_of, pages

#: Typer brings a copy of click along, whose errors are its own.
UsageError = typer.BadParameter.__bases__[0]
PAGES = {name_of(page): page for page in pages()}
every_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())


def organseg_lines(page: Path) -> list[list[str]]:
    """The words of each ``organseg`` command in a page's shell blocks, what follows a ``#`` left out."""
    lines = [line for block in blocks(page) if block.kind in {"bash", "sh"} for line in commands(block.text)]
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line and line[0] == "organseg"]


def parse(words: list[str]) -> None:
    """Parse a command line against the real tree of commands, without running it or looking for files.

    Raises:
        UsageError: There is no such command or option, or one lacks its value.
    """
    command, context = get_command(app), None
    while hasattr(command, "commands") and words and words[0] in command.commands:
        context = command.context_class(command, info_name=words[0], parent=context)
        command, words = command.commands[words[0]], words[1:]
    if hasattr(command, "commands") and (not words or not words[0].startswith("-")):
        raise UsageError(f"{words} is no command")
    command.make_context("organseg", list(words), parent=context)


@every_page
def test_every_command_is_one_of_ours_with_options_that_it_has(page: Path) -> None:
    for words in organseg_lines(page):
        try:
            parse(words)
        except typer.Exit:
            continue  # --help
        except UsageError as error:
            pytest.fail(f"organseg {' '.join(words)}: {error.format_message()}")


def test_the_pages_show_every_command() -> None:
    """In an example or in a sentence."""
    text = "\n".join(page.read_text() for page in pages())
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    names = [name for name, _ in hooks.walk()]
    assert len(names) > 20
    stages = "demo|ingest|plan|preprocess|train|evaluate|select|report|run|schema"
    absent = [name for name in names if name not in text and not re.search(rf" ({stages})$", name)]
    assert absent == []


@pytest.mark.parametrize(
    "words", [["predikt", "x"], ["predict", "--modell", "x"], ["rle", "convert", "x", "--of", "y"]]
)
def test_a_wrong_command_is_found(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse(words)


def lay_out(folder: Path) -> None:
    """What the reader of the pages has: scans of knees with masks, and nothing else."""
    import nibabel as nib

    rng = np.random.default_rng(3)
    for part in ("images", "masks"):
        (folder / "knees" / part).mkdir(parents=True)
    (folder / "data_manifests").mkdir()
    for number in range(6):
        values = rng.integers(0, 400, (12, 12, 8)).astype(np.int16)
        mask = np.zeros(values.shape, np.uint8)
        mask[2:9, 2:9, 2:6], mask[3:5, 3:5, 3:5] = 1, 2
        for part, data in (("images", values), ("masks", mask)):
            nib.save(nib.Nifti1Image(data, np.diag([1.0, 1, 2, 1])), folder / "knees" / part / f"knee{number}.nii.gz")


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORGANSEG_", "MLFLOW_"))}
    return kept | {"PYTHONPATH": str(ROOT)}


def script(found: list[Block]) -> str:
    """A page's blocks that run, in order, as one shell script; files to write lie in ``blocks.json``."""
    program = f'organseg() {{ {shlex.quote(sys.executable)} -m organseg "$@"; }}\nset -e\n'
    for number, block in enumerate(found):
        if block.file:
            target = shlex.quote(block.file)
            program += f"mkdir -p $(dirname {target}) && cp {number}.block {target}\n"
        elif block.runs:
            program += block.text
    return program


RUNNING = {name: page for name, page in PAGES.items() if any(block.runs for block in blocks(page))}


@pytest.mark.parametrize("page", RUNNING.values(), ids=RUNNING.keys())
def test_what_a_page_promises_to_run_runs(page: Path, tmp_path: Path) -> None:
    found = blocks(page)
    lay_out(tmp_path)
    for number, block in enumerate(found):
        (tmp_path / f"{number}.block").write_text(block.text)
    command = [shutil.which("bash") or "bash", "-c", script(found)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_three_pages_promise_to_run() -> None:
    assert len(RUNNING) >= 3


@every_page
def test_python_that_shows_its_results_gives_them(page: Path) -> None:
    """Blocks with ``>>>``, in one session a page."""
    source = "\n".join(block.text for block in blocks(page) if block.kind == "python" and ">>>" in block.text)
    test = doctest.DocTestParser().get_doctest(source, {}, name_of(page), str(page), 0)
    said: list[str] = []
    runner = doctest.DocTestRunner()
    runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_the_tutorial_computes_its_numbers() -> None:
    text = PAGES["docs/tutorials/u-net.md"].read_text()
    assert text.count(">>>") > 20


@every_page
def test_other_python_compiles(page: Path) -> None:
    for block in blocks(page):
        if block.kind == "python" and ">>>" not in block.text:
            compile(block.text, name_of(page), "exec")


@every_page
def test_what_is_shown_of_a_config_is_right(page: Path) -> None:
    """Whole configs are read as they stand, parts as a part of one."""
    for block in blocks(page):
        if block.kind != "yaml":
            continue
        shown = yaml.safe_load(block.text)
        if "normalisation" in shown:  # a plan, not a config
            continue
        unknown = set(shown) - set(Study.model_fields)
        assert unknown == set(), f"{sorted(unknown)} in {name_of(page)}"
        parse_study({"modality": "mri", "organs": ["bone"], **shown}, name_of(page))


def test_the_network_of_the_how_to_page_passes_its_shapes() -> None:
    import torch

    page = PAGES["docs/how-to/add-a-network.md"]
    module: dict[str, object] = {"__name__": "one_convolution"}
    exec(next(block.text for block in blocks(page) if block.kind == "python"), module)
    network = module["build"](spatial_dims=3, in_channels=2, out_channels=4, features=5)  # type: ignore[operator]
    assert network(torch.zeros(1, 2, 7, 5, 9)).shape == (1, 4, 7, 5, 9)


def test_the_metric_of_the_how_to_page_is_what_it_says() -> None:
    page = PAGES["docs/how-to/add-a-metric.md"]
    module: dict[str, object] = {}
    exec(next(block.text for block in blocks(page) if block.kind == "python"), module)
    similarity = module["volumetric_similarity"]
    mask = np.zeros((4, 4), bool)
    assert np.isnan(similarity(mask, mask))  # type: ignore[operator]
    mask[:2] = True
    assert similarity(mask, ~mask) == 1  # type: ignore[operator]


def test_examples_of_the_pages_lie_where_they_say() -> None:
    notebook = json.loads((ROOT / "examples" / "first_steps.ipynb").read_text())
    assert notebook["cells"]
    for page in pages():
        for path in re.findall(r"`((?:tests|pipeline|examples|profiles)/[\w./]+)`", page.read_text()):
            assert "<" in path or (ROOT / path).exists(), f"{path} of {name_of(page)}"
