"""Report: everything that a study came to, as one HTML file that opens anywhere."""

from __future__ import annotations

from pipeline.core.disk import say_size
from pipeline.core.files import write_text
from pipeline.core.paths import StudyPaths
from pipeline.core.say import Say, quiet
from pipeline.core.study import Study


def run(study: Study, paths: StudyPaths, *, say: Say = quiet) -> None:
    """Write ``report.html`` and deliver it to MLflow; trouble there is said and stops nothing.

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
    from pipeline.report.data import gather
    from pipeline.report.page import page

    return page(gather(study, paths))
