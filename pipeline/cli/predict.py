"""``organseg predict`` without a study: scans in any form, a trained model, and a folder for what it finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.cli.inputs import Input
    from pipeline.cli.outcomes import Outcome
    from pipeline.core.study import Study
    from pipeline.inference.champion import Champion
    from pipeline.inference.course import Course
    from pipeline.inference.predictor import Predictor


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
        formats: Forms to write, as in a study's ``export.formats``; those of one file a scan. With ``nifti``,
            ``overlays``, ``spotlight`` and probabilities, memory is bounded whatever the size of a scan; ``dicom_seg``
            and ``surfaces`` hold whole volumes several times over.
        backend: In place of the one that the champion was evaluated with.
        probabilities: Write the probabilities too, ``probabilities/<scan>.nii.gz`` with an organ each along the fourth
            axis.

    Returns:
        The exit code: 0, or 3 where a scan failed.

    Raises:
        InputError: Nothing could be found to predict, the model cannot be opened, or a form or backend is unknown.
    """
    from pipeline.cli.inputs import options_for
    from pipeline.formats.decoders import guarded
    from pipeline.inference.champion import Reading

    probabilities = probabilities or "probabilities" in formats
    formats = [form for form in formats if form != "probabilities"]
    _check(formats, backend)
    options = options_for(Reading())
    # Before the model is opened, which starts threads.
    with guarded(options.seconds, options.memory_gib):
        return _predict(scans, model, out, threads, as_json, formats, backend, probabilities)


def _predict(
    scans: Sequence[Path],
    model: str,
    out: Path,
    threads: int | None,
    as_json: bool,
    formats: Sequence[str],
    backend: Any,
    probabilities: bool,
) -> int:
    """:func:`predict_files`, where decoders can do no harm."""
    from pipeline.cli.console import say, say_aside
    from pipeline.cli.inputs import find_inputs
    from pipeline.cli.outcomes import COLUMNS, Table, table_rows
    from pipeline.core.errors import EXIT_OK, EXIT_SOME_FAILED, InputError
    from pipeline.core.files import write_json, write_table
    from pipeline.export.forms import Job
    from pipeline.formats.correction import FOLDER, clear, finish
    from pipeline.inference.flow import flow
    from pipeline.quality.judge import open_judge

    tell = say_aside if as_json else say
    predictor, champion, folder = open_model(model, threads, backend, tell)
    inputs = list(find_inputs(scans, champion.modality, champion.ingest))
    if not inputs:
        raise InputError("holds no scan", where=", ".join(map(str, scans)))
    job = Job(study_of(champion, formats), champion.name, champion.study, out)
    judge = open_judge(folder)
    table = Table(as_json)
    steps = Steps(predictor, job, judge, probabilities)
    kept = clear(out / FOLDER)
    if kept is not None:
        tell(f"corrections that were begun are kept in {kept}")
    outcomes = []
    for outcome in table.follow(
        flow(inputs, steps.read, steps.predict, steps.write, large=_is_large, threads=threads), len(inputs)
    ):
        outcomes.append(outcome)
        table.show(outcome)
    rows = [row for outcome in outcomes for row in table_rows(outcome)]
    write_table(out / "predictions.csv", rows, COLUMNS)
    _list_doubtful(out / FOLDER, rows)
    finish(out / FOLDER)
    if as_json:
        table.document(champion.name, outcomes)
    write_json(out / "model.json", {"name": champion.name, "study": champion.study, "organs": champion.organs})
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


def open_model(
    model: str, threads: int | None, backend: Any = None, say: Callable[[str], None] = lambda line: None
) -> tuple[Predictor, Champion, Path]:
    """Open a champion's folder, a registered model, or one trained fold; also give the folder.

    Args:
        model: As in :func:`predict_files`.
        threads: Processor threads; by default what the process may use.
        backend: In place of the one that the champion was evaluated with.
        say: Told where another backend takes the place of that one.

    Raises:
        InputError: There is no such model.
    """
    from pipeline.core.errors import InputError
    from pipeline.inference.champion import FILE, MODEL, Champion, Member, member_plan, member_reading
    from pipeline.inference.predictor import open_champion, open_folds

    if model.startswith(("models:/", "runs:/")):
        from pipeline.tracking import download_model

        folder = download_model(model)
    else:
        folder = Path(model)
    if (folder / FILE).is_file():
        return (*open_champion(folder, threads=threads, backend=backend, say=say), folder)
    if not (folder / MODEL).is_file():
        raise InputError(
            "there is no trained model",
            where=model,
            remedy="Give the folder results/<study>/champion, or that of a fold, or models:/NAME@champion.",
        )
    from pipeline.core.study import Study

    plan = member_plan(folder)
    colors = Study(modality=plan.modality, organs={organ: {} for organ in plan.organs}).colors()  # type: ignore[arg-type]
    alone = Champion(
        name=plan.model,
        study=plan.model,
        modality=plan.modality,  # type: ignore[arg-type]
        organs=plan.organs,
        overlapping=plan.overlapping,
        colors=colors,
        mirror_pairs=plan.mirror_pairs,
        ingest=member_reading(folder),
        members=[Member(model=plan.model, fold=0, folder=".")],
    )
    return open_folds([folder], threads=threads), alone, folder


def study_of(champion: Champion, formats: Sequence[str]) -> Study:
    """What the exports need to know of a study, from the champion alone."""
    from pipeline.core.study import Study

    mirrors = dict(champion.mirror_pairs) | {b: a for a, b in champion.mirror_pairs}
    organs = {
        name: {
            "value": champion.values.get(name),
            "color": champion.colors.get(name),
            "snomed": champion.codes.get(name),
            "mirror": mirrors.get(name),
        }
        for name in champion.organs
    }
    return Study.model_validate(
        {
            "modality": champion.modality,
            "organs": organs,
            "overlapping": champion.overlapping,
            "export": {"formats": list(formats)},
        }
    )


@dataclass
class _Under:
    """A scan under way, and its outcome."""

    source: Input
    outcome: Outcome
    course: Course | None = None


def _is_large(under: _Under) -> bool:
    return under.course is not None and under.course.large


class Steps:
    """The steps of one scan; what goes wrong in one of them becomes the scan's outcome, and the others do nothing."""

    def __init__(self, predictor: Predictor, job: Any, judge: Any, probabilities: bool) -> None:
        self.predictor = predictor
        self.job = job
        self.judge = judge
        self.probabilities = probabilities

    def read(self, one: Input) -> _Under:
        """Read the scan, and bring it to the networks' grid unless it is to be alone in memory."""
        from pipeline.cli.outcomes import Outcome
        from pipeline.formats.decoders import next_scan
        from pipeline.inference.course import Course

        next_scan()
        under = _Under(one, Outcome(one.name, one.source))
        with self._watched(under):
            under.course = Course(self.predictor, one.read())
        return under

    def predict(self, under: _Under) -> _Under:
        """Run the networks."""
        with self._watched(under):
            if under.course is not None:
                under.course.ask()
        return under

    def write(self, under: _Under) -> Outcome:
        """Conclude, export, read back, judge, and put aside what is doubtful; gives the outcome without any voxel."""
        with self._watched(under):
            if under.course is not None and not under.outcome.reason:
                self._deliver(under, under.course)
        under.course = None
        return under.outcome

    def _deliver(self, under: _Under, course: Course) -> None:
        from pipeline.cli.outcomes import organ_rows
        from pipeline.core.errors import InputError
        from pipeline.export.forms import export_scan
        from pipeline.export.probabilities import check_probabilities
        from pipeline.formats.correction import FOLDER, put_aside
        from pipeline.formats.nifti.labels import write_probabilities

        name, out, scan = under.source.name, self.job.out, course.scan
        prediction = course.conclude()
        rows = export_scan(self.job, name, scan, prediction.labels)
        if self.probabilities:
            path, maps = out / "probabilities" / f"{name}.nii.gz", prediction.probabilities
            write_probabilities(path, scan, maps, overlapping=prediction.labels.overlapping)
            rows += check_probabilities(path, name, scan, prediction.labels, self.predictor.steps, maps)
        failed = [row for row in rows if row["status"] == "failed"]
        if failed:
            raise InputError(str(failed[0]["reason"]))
        verdicts = self.judge(scan, prediction) if self.judge else {}
        under.outcome.organs = organ_rows(scan, prediction.labels, verdicts)
        if any(row["verdict"] in {"look", "fail"} for row in under.outcome.organs):
            put_aside(out / FOLDER, name, scan, prediction.labels, self.job.study.values())

    @contextmanager
    def _watched(self, under: _Under) -> Iterator[None]:
        from pipeline.core.errors import InputError

        start = time.perf_counter()
        try:
            yield
        except InputError as error:
            under.outcome.reason = error.what
        except Exception as error:  # whatever a damaged file sets off, the other scans go on
            under.outcome.reason = f"{type(error).__name__}: {error}"
        under.outcome.seconds += time.perf_counter() - start


def _list_doubtful(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    from pipeline.cli.outcomes import COLUMNS
    from pipeline.core.files import write_table

    doubtful = [row for row in rows if row["status"] == "ok" and row["verdict"] in {"look", "fail"}]
    if doubtful:
        write_table(folder / "todo.csv", doubtful, COLUMNS)
