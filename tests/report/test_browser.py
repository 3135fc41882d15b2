"""The report in a real browser: nothing fails, slices scroll, hovering names the patient; phones and paper too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.chromium import Chromium

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tool, page_file: Path) -> Iterator[Chromium]:
    with Chromium(tool("chromium", "chromium-browser", "google-chrome")) as chromium:
        chromium.open(page_file)
        yield chromium


def box(browser: Chromium, selector: str) -> dict[str, float]:
    """Place of an element in the window, brought into view first."""
    return browser.run(
        f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'center'}});"
        "const b = e.getBoundingClientRect(); return {x: b.x + b.width / 2, y: b.y + b.height / 2, w: b.width}; })()"
    )


def slice_shown(browser: Chromium) -> str:
    return browser.run("document.querySelector('#gallery output').textContent")


def test_page_opens_without_an_error_or_a_request(browser: Chromium) -> None:
    assert browser.errors == []
    assert {address.rsplit("/", 1)[1] for address in browser.requests} == {"report.html"}
    assert browser.run("document.querySelectorAll('.chart svg').length") == browser.run(
        "document.querySelectorAll('.chart').length"
    )


def test_first_screen_needs_no_scrolling(browser: Chromium) -> None:
    assert browser.run("document.querySelector('.first').getBoundingClientRect().bottom + scrollY") <= 900
    assert browser.run("document.documentElement.scrollWidth") <= 1440


def test_hover_names_the_patient_by_scans_and_dice(browser: Chromium) -> None:
    place = box(browser, "#chart-spread-test-0 .mark-symbol path")
    browser.mouse("mouseMoved", place["x"] + 1, place["y"])
    browser.mouse("mouseMoved", place["x"], place["y"])
    for _ in range(30):
        tip = browser.run("document.querySelector('#vg-tooltip-element')?.innerText || ''")
        if tip:
            break
        time.sleep(0.1)
    assert "patient's scans" in tip
    assert "Dice" in tip
    assert any(f"s{n:02d}" in tip for n in range(11))


def test_wheel_keys_and_slider_scroll_the_slices(browser: Chromium) -> None:
    place = box(browser, "#gallery .stage")
    seen = [slice_shown(browser)]
    picture = browser.run("document.querySelector('#gallery image').getAttribute('href')")
    browser.mouse("mouseWheel", place["x"], place["y"], deltaX=0, deltaY=-80)
    seen.append(slice_shown(browser))
    assert browser.run("document.querySelector('#gallery image').getAttribute('href')") != picture
    browser.run("document.querySelector('#gallery .stage').focus()")
    browser.press("ArrowDown")
    seen.append(slice_shown(browser))
    browser.press("Home")
    seen.append(slice_shown(browser))
    browser.run(
        "(() => { const s = document.querySelector('#gallery input[type=range]'); s.value = 4;"
        "s.dispatchEvent(new Event('input')); })()"
    )
    seen.append(slice_shown(browser))
    assert len(set(seen)) >= 4
    assert seen[3] == "1/9"
    assert seen[4] == "5/9"
    assert browser.run("document.querySelector('#gallery path.reference').getAttribute('d').length") > 10


def test_finger_scrolls_the_slices(browser: Chromium) -> None:
    place = box(browser, "#gallery .stage")
    before = slice_shown(browser)
    browser.mouse("mousePressed", place["x"] - 40, place["y"], button="left", buttons=1, pointerType="pen")
    browser.mouse("mouseMoved", place["x"] + 90, place["y"], button="left", buttons=1, pointerType="pen")
    browser.mouse("mouseReleased", place["x"] + 90, place["y"], button="left", pointerType="pen")
    assert slice_shown(browser) != before


def test_outlines_can_be_switched_off(browser: Chromium) -> None:
    shown = "getComputedStyle(document.querySelector('#gallery path.prediction')).display"
    assert browser.run(shown) != "none"
    browser.run("document.querySelector('input[data-outline=prediction]').click()")
    assert browser.run(shown) == "none"
    browser.run("document.querySelector('input[data-outline=prediction]').click()")


def test_dark_and_light(browser: Chromium) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = browser.run(paper)
    browser.dark(True)
    dark = browser.run(paper)
    label = browser.run("getComputedStyle(document.querySelector('.chart text')).fill")
    browser.dark(False)
    assert light != dark
    assert label != browser.run("getComputedStyle(document.querySelector('.chart text')).fill")


def test_tables_sort_by_key(browser: Chromium) -> None:
    first = "document.querySelector('#scans tbody tr').textContent"
    browser.run("document.querySelectorAll('#scans thead button')[0].focus()")
    browser.run("document.querySelectorAll('#scans thead button')[0].click()")
    up = browser.run(first)
    browser.run("document.querySelectorAll('#scans thead button')[0].click()")
    assert browser.run(first) != up
    assert browser.run("document.querySelector('#scans thead th').getAttribute('aria-sort')") == "descending"


def test_phone(browser: Chromium, page_file: Path) -> None:
    browser.resize(390, 844)
    browser.open(page_file)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    wide = "Math.max(...[...document.querySelectorAll('.chart svg')].map(s => s.getBoundingClientRect().right))"
    assert browser.run(wide) <= 390
    browser.resize(1440, 900)
    browser.open(page_file)


def test_prints(browser: Chromium, tmp_path: Path) -> None:
    browser.pdf(tmp_path / "print.pdf")
    pages = (tmp_path / "print.pdf").read_bytes().count(b"/Type /Page\n")
    assert 3 <= pages <= 30
    assert browser.errors == []
