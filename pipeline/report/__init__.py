"""Report: everything that a study came to, as one HTML file that opens anywhere."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.core.disk import say_size
from pipeline.core.files import write_text
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study


def run(study: Study, paths: StudyPaths, *, say: Callable[[str], None] = lambda line: None) -> None:
    """Write ``report.html`` and deliver it to MLflow; trouble there is said and stops nothing.

    Args:
        study: The study.
        paths: Its places.
        say: Takes a line of progress.

    Raises:
        InputError: The scans were not ingested, or a file that is there cannot be read.
    """
    page = build(study, paths)
    write_text(paths.report, page)
    say(f"{paths.report}: {say_size(len(page.encode()))}")
    from pipeline.tracking import deliver_report

    deliver_report(study, paths, say)


def build(study: Study, paths: StudyPaths) -> str:
    """The page of a study, from whatever its stages have left."""
    from pipeline.report.attention import scans_to_look_at
    from pipeline.report.cohort import data_section, split_section
    from pipeline.report.data import gather
    from pipeline.report.first import first_screen
    from pipeline.report.gallery import gallery_section, hero_view, scans_section
    from pipeline.report.page import page
    from pipeline.report.provenance import provenance_section
    from pipeline.report.results import test_section
    from pipeline.report.selection import selection_section
    from pipeline.report.training import plan_section, training_section

    gathered = gather(study, paths)
    attention = scans_to_look_at(gathered)
    sections = [
        first_screen(gathered, attention, hero_view(gathered)),
        data_section(gathered),
        split_section(gathered),
        plan_section(gathered),
        training_section(gathered),
        test_section(gathered),
        gallery_section(gathered),
        scans_section(gathered, attention),
        selection_section(gathered),
        provenance_section(gathered),
    ]
    return page(study.title or paths.study, study.description, sections)
