"""``organseg predict`` without a study: scans in any form, a trained model, and a folder for what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def predict_files(
    scans: Sequence[Path],
    model: str,
    out: Path,
    threads: int | None = None,
    as_json: bool = False,
    *,
    formats: Sequence[str] = ("nifti", "overlays"),
    backend: Any = None,
    probabilities: bool = False,
) -> int:
    """Segment scans with a trained model.

    Args:
        scans: DICOM files and folders, NIfTI, pictures, folders of such, or manifests (``.csv``).
        model: A champion's folder, a trained fold's, or ``models:/NAME@alias``.
        out: Folder to write to: a folder a format, and ``predictions.csv``.
        threads: Processor threads; by default what the process may use.
        as_json: Print one JSON document rather than a table.
        formats: Forms to write, as in a study's ``export.formats``; those of one file a scan. Memory is bounded
            whatever a scan's size but for ``dicom_seg`` and ``surfaces``, which hold whole volumes several times over.
        backend: In place of the one that the champion was evaluated with.
        probabilities: Write ``probabilities/<scan>.nii.gz`` too, an organ each along the fourth axis.

    Returns:
        The exit code: 0, or 3 where a scan failed.

    Raises:
        InputError: Nothing could be found to predict, the model cannot be opened, or a form or backend is unknown.
    """
    from pipeline.cli.console import say, say_aside
    from pipeline.cli.outcomes import OutcomeTable
    from pipeline.core.errors import EXIT_OK, EXIT_SOME_FAILED
    from pipeline.export.forms import Job
    from pipeline.export.probabilities import FORM, prediction_writer
    from pipeline.formats.correction import FOLDER, clear
    from pipeline.formats.decoders import guarded
    from pipeline.inference.champion import Reading
    from pipeline.predict import files, inputs
    from pipeline.predict.model import open_model

    probabilities = probabilities or FORM in formats
    formats = [form for form in formats if form != FORM]
    _check(formats, backend)
    tell, table, options = say_aside if as_json else say, OutcomeTable(as_json), inputs.options_for(Reading())
    # Before the model is opened, which starts threads.
    with guarded(options.seconds, options.memory_gib):
        opened = open_model(model, threads=threads, backend=backend, say=tell)
        champion = opened.champion
        found = inputs.scans_in(scans, champion.modality, champion.ingest, tell)
        job = Job(champion.as_study(formats), champion.name, champion.study, out)
        write = prediction_writer(job, opened.predictor.steps, probabilities=probabilities)
        if kept := clear(out / FOLDER):
            tell(f"corrections that were begun are kept in {kept}")
        outcomes = table.shown(files.predict_files(found, opened, write, out, threads=threads), len(found))
        files.write_tables(out, opened, outcomes)
    if as_json:
        table.document(champion.name, outcomes)
    return EXIT_SOME_FAILED if any(outcome.reason for outcome in outcomes) else EXIT_OK


def _check(formats: Sequence[str], backend: str | None) -> None:
    from typing import get_args

    from pipeline.core.errors import InputError
    from pipeline.export.forms import FORMS, check_forms
    from pipeline.inference.champion import BackendName

    check_forms(formats, FORMS)
    if backend is not None and backend not in get_args(BackendName):
        remedy = f"Take one of {', '.join(get_args(BackendName))}."
        raise InputError(f"there is no backend {backend!r}", where="--backend", remedy=remedy)
