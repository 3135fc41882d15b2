"""The site: built strictly, whole, and opened without a network."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.docs.pages import ROOT

pytest.importorskip("mkdocs", reason="the documentation is built with the extra docs")
#: Elements that a browser fetches something for, and the attribute that says what.
FETCHED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}
#: Links that a browser does not follow by itself.
NOT_FETCHED = {"canonical", "next", "prev", "alternate", "edit"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


class Reader(HTMLParser):
    """What a page fetches, and what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids |= {found["id"] or ""} if "id" in found else set()
        address = found.get(FETCHED.get(tag, ""))
        if address and not (tag == "link" and set((found.get("rel") or "").split()) <= NOT_FETCHED):
            self.fetched.append(address)
        if tag == "a" and found.get("href"):
            self.links.append(found["href"] or "")


@cache
def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text())
    return reader


def test_nothing_is_fetched_from_outside(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        if page.name == "404.html":  # a server's page, whose addresses start from its root
            continue
        for address in read(page).fetched:
            assert not re.match(r"(https?:)?//", address), f"{page.name} fetches {address}"
            assert address.startswith("data:") or (page.parent / address.split("?")[0]).exists(), address
    for sheet in site.rglob("*.css"):
        outside = re.findall(r"(?:url\(|@import\s+)[\"']?(?:https?:)?//[^\"')]+", sheet.read_text())
        assert outside == [], sheet.name


def test_links_between_pages_lead_somewhere(site: Path) -> None:
    for page in sorted(site.rglob("*.html")):
        if page.name == "404.html":
            continue
        for link in read(page).links:
            path, _, place = link.partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            target = (page.parent / path) if path else page
            assert target.exists(), f"{page.name}: {link}"
            if place and target.suffix == ".html":
                assert place in read(target).ids, f"{page.name}: {link}"


def test_captions_of_the_workflow_and_programs_are_no_pages(site: Path) -> None:
    assert not (site / "captions").exists()
    assert not list(site.rglob("*.py"))


def test_the_lists_of_the_reference_are_there(site: Path) -> None:
    commands = (site / "reference" / "commands.html").read_text()
    assert "organseg rle convert" in commands
    assert "--lenient" in commands
    assert "evaluate.dice_limit" in (site / "reference" / "configuration.html").read_text()
    assert "Voxels" in (site / "reference" / "python.html").read_text()
    for page in site.rglob("*.html"):
        assert not re.search(r"generated:|:(func|class|meth|data):", page.read_text()), page.name


@pytest.mark.slow
def test_pictures_are_what_the_program_draws(tmp_path: Path) -> None:
    """But for what another machine's arithmetic or fonts change."""
    command = [sys.executable, str(ROOT / "docs" / "figures.py"), str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert len(drawn) == 6
    for name in drawn:
        kept, new = (Image.open(folder / name).convert("L") for folder in (ROOT / "docs" / "images", tmp_path))
        assert kept.size == pytest.approx(new.size, rel=0.02), name
        apart = np.asarray(kept, float) - np.asarray(new.resize(kept.size), float)
        assert np.abs(apart).mean() < 4, name


@pytest.mark.browser
def test_the_search_works_from_a_file(site: Path, tool) -> None:
    program = tool("chromium", "chromium-browser", "google-chrome")
    address = f"{(site / 'index.html').as_uri()}?q=tolerance"
    command = [
        program,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=15000",
        "--dump-dom",
        address,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert re.search(r"\d+ matching document", done.stdout)
