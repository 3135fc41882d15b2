"""What stands beside the code agrees with it: requirements, captions, and the page of the configuration."""

import re
import tomllib
from pathlib import Path

import jinja2
import pytest
from packaging.requirements import Requirement

from pipeline.core.study import Study


def requirements(root: Path) -> dict[str, Requirement]:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return {plain(found.name): found for found in map(Requirement, lines)}


def pins(root: Path) -> dict[str, str]:
    lines = (root / ".ci" / "constraints.txt").read_text().splitlines()
    return {plain(name): version for name, _, version in (line.partition("==") for line in lines) if version}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_requirement_is_a_range_that_holds_the_version_that_was_tested(root: Path) -> None:
    tested = pins(root)
    for name, requirement in requirements(root).items():
        assert name in tested, f"{name} has no pin in .ci/constraints.txt"
        assert requirement.specifier.contains(tested[name]), f"{requirement} is not met by {tested[name]}"
        assert not any(part.operator == "==" for part in requirement.specifier), f"{requirement} is a pin"


def test_pytorch_is_pinned_where_it_was_tested(root: Path) -> None:
    assert pins(root)["torch"] == "2.13.0"
    assert requirements(root)["torch"].specifier.contains("2.9.1"), "who has an older one keeps it"


def snakefile(root: Path) -> str:
    return (root / "Snakefile").read_text()


def test_all_that_is_reported_has_a_caption_that_can_be_rendered(root: Path) -> None:
    shown = snakefile(root).count("report(\n")
    captions = re.findall(r'caption="(docs/captions/[a-z]+\.rst)"', snakefile(root))
    assert len(captions) == shown > 8
    assert {f"docs/captions/{path.name}" for path in (root / "docs" / "captions").iterdir()} == set(captions)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    wildcards = {"study": "demo_xray", "model": "unet", "fold": "0", "part": "test"}
    for name in captions:
        text = environment.from_string((root / name).read_text()).render(snakemake={"wildcards": wildcards})
        assert text.endswith(".")
        assert "{" not in text


def test_every_rule_that_works_names_its_log_benchmark_and_environment(root: Path) -> None:
    text = snakefile(root)
    rules = text.count('\n        "organseg ') + text.count('\n            "organseg ')
    for directive in ("log:", "benchmark:", "conda:", "shell:"):
        assert len(re.findall(rf"\n +{directive}\n", text)) == rules, directive


@pytest.mark.parametrize("private", ["workflow.rules", "conda_env", "workflow._"])
def test_the_workflow_keeps_off_what_is_private_to_snakemake(root: Path, private: str) -> None:
    assert private not in snakefile(root)


def test_the_page_of_the_configuration_names_every_key(root: Path) -> None:
    page = (root / "configs" / "README.md").read_text()
    named = set(re.findall(r"`([a-z_]+)`", page))
    schema = Study.model_json_schema()
    keys = set(schema["properties"])
    for section in (
        "Organ",
        "Ingest",
        "Split",
        "ModelConfig",
        "Evaluate",
        "Select",
        "Export",
        "Tracking",
        "Demo",
        "Budget",
    ):
        keys |= set(schema["$defs"][section]["properties"])
    assert keys - named == set()
