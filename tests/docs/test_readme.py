"""The README: short, with its two commands as they are typed, and a way to every page."""

import re

from tests.docs.pages import ROOT

README = (ROOT / "README.md").read_text()


def command_of(mark: str) -> str:
    """The line of code that follows a marker, as `.ci/run` takes it."""
    found = re.search(rf"^<!-- {mark} -->\n```bash\n(.+)\n```$", README, re.MULTILINE)
    assert found is not None
    return found[1]


def test_it_is_read_in_a_minute_or_two() -> None:
    assert len(README.splitlines()) <= 125


def test_its_two_commands_start_from_nothing() -> None:
    for mark, end in (("main", "snakemake --cores 8"), ("tests", 'not slurm"')):
        command = command_of(mark)
        assert command.startswith("python3 -m venv .venv && . .venv/bin/activate && pip install -e ")
        assert command.endswith(end)


def test_links_and_pictures_are_there() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text()
        targets = re.findall(r"\]\(([^)#]+)\)", text)
        assert targets
        for target in targets:
            assert (ROOT / target).is_file(), f"{name}: {target}"


def test_it_leads_to_every_page() -> None:
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")} - {"docs/index.md"}
    assert pages - set(re.findall(r"\]\(([^)]+)\)", README)) == set()


def test_it_says_what_it_is_not() -> None:
    assert "not a medical device" in README
    for name in ("report.png", "mlflow.png"):
        assert f"](docs/images/{name})" in README
