"""What the report says, and what it must not say."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from pipeline import report
from pipeline.core.files import read_json, read_table, write_json, write_table
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.formats.store import read_scan, write_labels
from pipeline.report import provenance
from pipeline.report.attention import scans_to_look_at
from pipeline.report.charts import thinned
from pipeline.report.data import Figures, findings_of, gather
from pipeline.report.gallery import chosen_scans
from pipeline.report.page import section
from pipeline.report.text import figure_text, interval_text
from tests.report import studies


class Outline(HTMLParser):
    """Checks that tags nest, and gathers ids, texts by id of their section, and images."""

    VOID = frozenset({"meta", "link", "input", "img", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.sections: dict[str, str] = {}
        self.targets: list[str] = []
        self.unnamed: list[str] = []
        self._section = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag == "section":
            self._section = str(found["id"])
        if tag == "a":
            self.targets.append(str(found["href"]))
        if tag in {"img", "svg"} and not (found.get("alt") or found.get("aria-label")):
            self.unnamed.append(self.get_starttag_text() or tag)
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.stack and self.stack[-1] in {"path", "image", "circle", "text"} and self.stack[-1] != tag:
            self.stack.pop()
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] not in {"script", "style"}:
            self.sections[self._section] = self.sections.get(self._section, "") + data


def test_page_is_whole_and_every_link_leads_somewhere(page: str) -> None:
    outline = Outline(page)
    assert not outline.stack
    assert len(outline.ids) == len(set(outline.ids))
    assert {target[1:] for target in outline.targets} <= set(outline.ids)
    assert not outline.unnamed


def test_nothing_is_asked_from_elsewhere(page: str) -> None:
    assert "default-src 'none'" in page
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']*""", outside)
    assert "@import" not in outside
    assert "url(" not in outside


def test_first_screen_answers_the_questions(page: str, finished: tuple[Study, StudyPaths]) -> None:
    _, paths = finished
    first = Outline(page).sections["summary"]
    facts = read_json(paths.metrics("test") / "summary.json")
    row = next(
        r for r in facts["summary"] if (r["model"], r["organ"], r["metric"]) == ("champion", "liver", "dice")
    )  # fmt: skip
    assert interval_text(row) in first
    baseline = next(
        r for r in facts["summary"] if (r["model"], r["organ"], r["metric"]) == ("mean shape", "liver", "dice")
    )  # fmt: skip
    assert figure_text(baseline["mean"]) in first
    for words in ("liver and lesion", "11 MRI volumes of 10 patients", "2 sites", "good", "surface Dice at 1 mm"):
        assert words in first
    assert f"{facts['n_scans']} scans of {facts['n_patients']} test patients" in first
    assert "1 of 12 rows rejected" in first
    assert "patients: the intervals are approximate" in first
    assert "Empty masks" in first
    out_of_fold = read_json(paths.metrics("oof") / "summary.json")["summary"]
    other = next(r for r in out_of_fold if (r["model"], r["organ"], r["metric"]) == ("good", "liver", "dice"))
    assert interval_text(other) not in first


def test_a_champion_below_the_baseline_is_said_to_be(finished: tuple[Study, StudyPaths], tmp_path: Path) -> None:
    study, paths = finished
    shutil.copytree(paths.results, tmp_path / "results" / paths.study)
    there = StudyPaths(paths.study, tmp_path)
    file = there.metrics("test") / "summary.json"
    facts = read_json(file)
    for row in facts["summary"]:
        if (row["model"], row["organ"], row["metric"]) == ("champion", "liver", "dice"):
            row["mean"] = 0.01
    write_json(file, facts)
    assert "No better than the baseline (mean shape): liver." in Outline(report.build(study, there)).sections["summary"]


def test_out_of_fold_and_test_figures_stand_apart(page: str, finished: tuple[Study, StudyPaths]) -> None:
    gathered = gather(*finished)
    assert gathered.test is not None
    assert gathered.oof is not None
    test_scans = {row["scan_id"] for row in gathered.test.rows}
    oof_scans = {row["scan_id"] for row in gathered.oof.rows}
    assert test_scans
    assert oof_scans
    assert not test_scans & oof_scans
    for name, spec in studies.specs(page).items():
        text = str(spec)
        if "-test" in name or name == "spread-first":
            assert not any(f"'{scan}'" in text for scan in oof_scans), name
        if "-oof" in name:
            assert not any(f"'{scan}'" in text for scan in test_scans), name


def test_every_table_of_figures_prints_the_rule_for_empty_masks(page: str) -> None:
    from_tables = re.findall(r"<caption[^>]*>([^<]*)</caption>(.*?)(?=<caption|$)", page, re.DOTALL)
    figures = ("95 % interval", "Limits of agreement", "Dice by subgroup", "Scans with the champion", "per organ")
    measured = [(caption, rest) for caption, rest in from_tables if any(words in caption for words in figures)]
    assert len(measured) >= 8
    for caption, rest in measured:
        assert "Empty masks" in rest, caption


def test_every_patient_is_a_point_that_names_its_scans(page: str, finished: tuple[Study, StudyPaths]) -> None:
    gathered = gather(*finished)
    assert gathered.test is not None
    points = studies.specs(page)["spread-test-0"]
    rows = [row for data in points["datasets"].values() for row in data if "scans" in row]
    champion = [row for row in rows if row["model"] == "champion"]
    assert len(champion) == gathered.test.facts["n_patients"]
    named = {scan for row in champion for scan in row["scans"].split(", ")}
    assert named == {row["scan_id"] for row in gathered.test.rows}


def test_no_patient_no_source_and_no_unnamed_column_is_told(page: str, finished: tuple[Study, StudyPaths]) -> None:
    for word in ("secret-patient", "Nobody", ".nii", "source/", str(finished[1].root)):
        assert word not in page


def test_texts_are_escaped(page: str) -> None:
    assert "Drawn &lt;organs&gt; &amp; more" in page
    assert "<organs>" not in page


def test_nothing_out_of_a_table_becomes_markup(finished: tuple[Study, StudyPaths]) -> None:
    gathered = gather(*finished)
    evil = """</script><script>alert(1)</script><img src=x onerror='alert(2)'>"""
    rejected = [{**row, "scan_id": evil, "reason": evil} for row in gathered.rejected]
    scans = [{**row, "scan_id": evil + row["scan_id"]} for row in gathered.scans]
    html = section("data", replace(gathered, rejected=rejected, scans=scans))
    assert "<script>" not in html
    assert "<img" not in html
    assert html.count("&lt;script&gt;alert(1)") >= 2
    sizes = studies.specs(html)["sizes-0"]["datasets"]
    assert all(point["scan"].startswith(evil) for points in sizes.values() for point in points)


def test_same_files_give_the_same_page(page: str, finished: tuple[Study, StudyPaths]) -> None:
    assert report.build(*finished) == page


def test_worst_cases_come_first_and_are_drawn(page: str, finished: tuple[Study, StudyPaths]) -> None:
    gathered = gather(*finished)
    assert gathered.test is not None
    means = gathered.test.scan_means("champion")
    chosen = chosen_scans(gathered)
    assert chosen[0] == ("worst", min(means, key=lambda scan: (means[scan], scan)))
    assert [means[scan] for _, scan in chosen] == sorted(means[scan] for _, scan in chosen)
    assert "best" in dict(chosen)
    gallery = page[page.index('<section id="gallery"') : page.index('<section id="scans"')]
    pictures = re.findall(r'href="data:image/webp;base64,([^"]+)"', gallery)
    assert len(pictures) == len(chosen)
    with Image.open(io.BytesIO(base64.b64decode(pictures[0]))) as image:
        assert image.size[0] > 100
    assert gallery.count('class="prediction"') == gallery.count('class="reference"') == 2 * len(chosen)


def test_scans_that_need_a_look_are_those_below_the_limit_or_judged_so(finished: tuple[Study, StudyPaths]) -> None:
    study, paths = finished
    found = {one.scan_id: one for one in scans_to_look_at(gather(study, paths))}
    rows = [row for row in read_table(paths.metrics("test") / "per_scan.csv") if row["model"] == "champion"]
    low = {row["scan_id"] for row in rows if row["dice"] and float(row["dice"]) < study.evaluate.dice_limit}
    judged = {
        r["scan_id"]
        for r in read_table(paths.predictions("test", "champion") / "quality.csv")
        if r["verdict"] == "fail"
    }
    assert set(found) == low | judged
    assert any("its size is unusual" in reason for reason in found[judged.pop()].reasons)


@pytest.mark.parametrize(
    "removed", ["metrics", "champion.yaml", "plans", "splits.csv", "models", "predictions", "scans"]
)
def test_a_study_that_is_not_finished_still_reports(removed: str, page: str, finished, tmp_path: Path) -> None:
    study, paths = finished
    shutil.copytree(paths.root, tmp_path / "copy")
    there = StudyPaths(paths.study, tmp_path / "copy")
    gone = there.results / removed
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    changed = report.build(study, there)
    assert not Outline(changed).stack
    assert "Drawn &lt;organs&gt;" in changed
    if removed == "metrics":
        assert "nothing is known of new patients" in changed


def test_a_model_that_is_only_applied(tmp_path: Path) -> None:
    study, paths = studies.make(tmp_path / "applied", patients=6, model="results/other/champion")
    studies.finish(study, paths)
    text = Outline(report.build(study, paths)).sections
    assert "trained before on study" in text["summary"]
    assert "Nothing was split" in text["split"]
    assert "selection" not in text


def test_a_cohort_without_masks_shows_what_is_suspicious(tmp_path: Path) -> None:
    study, paths = studies.make(tmp_path / "plain", patients=5, masks=False, model="results/other/champion")
    rows = read_table(paths.scans_csv)
    for row in rows:
        scan = read_scan(paths.scan(row["shard"], row["scan_id"]))
        found = LabelMap.from_masks(
            {"liver": scan.voxels[0] > 90}, scan.affine, list(study.organs), overlapping=False
        )  # fmt: skip
        write_labels(paths.predictions("test", "champion") / f"{row['scan_id']}.nii.gz", found)
    table = [{"scan_id": row["scan_id"], "status": "ok"} for row in rows]
    write_table(paths.predictions("test", "champion") / "predictions.csv", table, ("scan_id", "status"))
    studies.choose(study, paths)
    studies.judge(paths)
    page = report.build(study, paths)
    text = Outline(page).sections
    assert "nothing is known of new patients" in text["summary"]
    assert "its size is unusual" in text["summary"]
    assert "most suspicious" in text["gallery"]
    assert 'class="prediction"' in page


def test_lengths_in_pixels_and_in_mm_stand_in_rows_of_their_own(finished: tuple[Study, StudyPaths]) -> None:
    gathered = gather(*finished)
    assert gathered.test is not None
    rows, summary = [], []
    for unit, other in (("mm", "mL"), ("px", "voxels")):
        rows += [{**row, "unit": unit, "volume_unit": other} for row in gathered.test.rows]
        summary += [{**row, "unit": unit} for row in gathered.test.facts["summary"] if row["metric"] in {"hd95", "nsd"}]
    summary += [row for row in gathered.test.facts["summary"] if row["metric"] not in {"hd95", "nsd"}]
    mixed = Figures(rows, {**gathered.test.facts, "summary": summary})
    table = section("test", replace(gathered, test=mixed))
    assert "liver, mm" in table
    assert "liver, px" in table
    assert "HD95, mm or px" in table


def test_one_organ_one_model_and_no_test_patient(tmp_path: Path) -> None:
    settings = {
        "organs": ["liver"],
        "models": {"good": {"network": "unet"}},
        "split": {"test_fraction": 0},
        "evaluate": {"bootstrap": 100},
    }
    study, paths = studies.make(tmp_path / "one", patients=6, **settings)
    studies.predict(study, paths, "oof", "good", 1)
    studies.train(paths, "good")
    from pipeline import evaluate

    for shard in range(study.ingest.shards):
        evaluate.run_shard(study, paths, "oof", shard)
    evaluate.gather(study, paths, "oof")
    text = Outline(report.build(study, paths)).sections
    assert "nothing is known of new patients" in text["summary"]
    assert "flatter the champion" in text["selection"]


def test_pictures_and_a_scan_without_lengths(tmp_path: Path) -> None:
    study, paths = studies.make(tmp_path / "flat", patients=8, flat=True, modality="xray")
    studies.finish(study, paths)
    page = report.build(study, paths)
    assert 'type="range"' not in page
    assert "radiographs of" in page


def test_run_writes_the_file_and_survives_a_tracker_in_trouble(
    finished: tuple[Study, StudyPaths], page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, paths = finished
    monkeypatch.setenv("ORGANSEG_TRACKING", "offline")
    said: list[str] = []
    report.run(study, paths, say=said.append)
    assert paths.report.read_text(encoding="utf-8") == page
    assert len(page) < 8_000_000
    assert "MiB" in said[0]


def test_findings_may_hold_semicolons() -> None:
    cell = "specks: liver has 2 specks; all small;sides: left; and right"
    assert findings_of({"findings": cell}) == [
        ("specks", "liver has 2 specks; all small"),
        ("sides", "left; and right"),
    ]
    assert findings_of({"findings": ""}) == []


def test_report_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from pipeline.report import montage, page, results, cohort, first, provenance, selection, training\n"
        "print([m for m in ('torch', 'monai', 'mlflow', 'pandas', 'SimpleITK') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"


def test_many_points_are_thinned_and_that_is_said() -> None:
    some, sentence = thinned([{"x": index} for index in range(9000)])
    assert 3000 <= len(some) <= 4000
    assert "One point in 3" in sentence
    assert thinned([{"x": 1}]) == ([{"x": 1}], "")


def test_the_report_says_how_well_the_verdicts_find_bad_organs(finished: tuple[Study, StudyPaths]) -> None:
    said = " ".join(section("selection", gather(*finished)).split())
    assert "2 of 8 organs were below Dice 0.9" in said
    assert "found them with sensitivity 0.50." in said
    assert "specificity was not defined." in said
    assert "The AUROC of their risk was 0.88." in said
    assert "Of 8 Dice predicted for held-out patients, 88% lay in the 90% interval" in said
    assert "Agreement of folds: Dice with the reader." in said


def test_a_cut_line_of_a_benchmark_is_no_measurement(tmp_path: Path) -> None:
    (tmp_path / "ingest-0.tsv").write_text("s\th:m:s\tmax_rss\n12.0\t0:00:12\t300\n", encoding="utf-8")
    (tmp_path / "ingest-1.tsv").write_text("s\th:m:s\tmax_rss\n12.0\n", encoding="utf-8")
    (tmp_path / "train-0.tsv").write_text("s\th:m:s\tmax_rss\n", encoding="utf-8")
    assert provenance._stages(tmp_path) == [["ingest", "1", "12 s", "300 MB"]]
