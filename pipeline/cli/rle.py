"""Commands about masks as run lengths; with ``--study``, the stage of that name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.formats.rle.detection import Detection
    from pipeline.formats.rle.entries import EntryReader

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)

File = Annotated[
    Path,
    typer.Argument(help="CSV, Parquet, COCO or Label Studio JSON, CVAT XML; gzipped or not.", show_default=False),
]
DialectName = Annotated[
    str | None, typer.Option("--dialect", help="Name in `organseg rle dialects`.", show_default="the file's own")
]
PictureSize = Annotated[
    str | None,
    typer.Option("--size", help="HEIGHTxWIDTH of pictures whose size the file does not say.", show_default=False),
]
Images = Annotated[
    Path | None, typer.Option(help="Folder of the pictures: their sizes, and evidence.", show_default=False)
]
Lenient = Annotated[bool, typer.Option("--lenient", help="Repair what can be repaired, and list it.")]
Columns = Annotated[
    list[str] | None, typer.Option("--column", help="Column of masks in a wide file.", show_default="all others")
]
Table = Annotated[Path, typer.Option("--out", help="File to write: .csv, .csv.gz, .parquet.", show_default=False)]


@app.callback()
def stage(
    context: typer.Context,
    study: Annotated[str | None, typer.Option(help="Name of the study.", show_default=False)] = None,
) -> None:
    """Write a study's masks as run lengths, or convert files of masks."""
    if study is not None and context.invoked_subcommand is None:
        from pipeline import rle as stage
        from pipeline.cli.console import say
        from pipeline.cli.stages import opened

        with opened(study, "rle") as (config, paths):
            stage.run(config, paths, say=say)
    elif study is not None:
        raise typer.BadParameter("--study runs the stage and takes no command")
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def encode(
    masks: Annotated[list[Path], typer.Argument(help="PNG and NIfTI files or folders.", show_default=False)],
    out: Annotated[Path, typer.Option(help="File to write: .csv, .csv.gz, .parquet, .json.", show_default=False)],
    dialect: Annotated[str, typer.Option(help="Name in `organseg rle dialects`.")] = "organseg",
    axis: Annotated[str, typer.Option(help="Axis to slice volumes along: x, y or z; or volume.")] = "z",
    organs: Annotated[
        str | None,
        typer.Option(help="Organs of index images and label volumes: 1=liver,2=spleen.", show_default=False),
    ] = None,
    every_slice: Annotated[bool, typer.Option("--every-slice", help="Write slices without a pixel too.")] = False,
) -> None:
    """Write masks as run lengths. A file ID__ORGAN.png is one organ of image ID."""
    from pipeline.core.labels import parse_organs
    from pipeline.formats.rle import dialect_named, write_entries
    from pipeline.formats.rle.pictures import file_entries, mask_files, organs_of

    known, names = dialect_named(dialect), parse_organs(organs, values_only=True)
    files = mask_files(masks)
    with _bar(f"{out}") as progress:
        entries = file_entries(files, names, known.order, axis, every_slice=every_slice, progress=progress)
        count = write_entries(out, entries, known, organs_of(files, names))
    print(f"{out}: {count} masks from {len(files)} files")


@app.command()
def decode(
    file: File,
    out: Annotated[Path, typer.Option(help="Folder to write to.", show_default=False)],
    dialect: DialectName = None,
    size: PictureSize = None,
    images: Images = None,
    column: Columns = None,
    lenient: Lenient = False,
) -> None:
    """Paint masks: a PNG a picture and organ, a NIfTI file a volume and organ, named ID__ORGAN."""
    from pipeline.formats.rle.pictures import unpack

    _run(lambda reader: sum(1 for _ in unpack(reader, out)), file, out, dialect, size, images, column, lenient)


@app.command()
def convert(
    file: File,
    out: Annotated[Path, typer.Option(help="File to write: .csv, .csv.gz, .parquet, .json.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="Dialect to write.", show_default=False)],
    old: Annotated[str | None, typer.Option("--from", help="Dialect of FILE.", show_default="the file's own")] = None,
    size: PictureSize = None,
    images: Images = None,
    column: Columns = None,
    lenient: Lenient = False,
) -> None:
    """Write masks in another dialect."""
    from pipeline.formats.rle.convert import convert as run

    _run(lambda reader: run(reader, out, to), file, out, old, size, images, column, lenient)


@app.command()
def stats(
    file: File,
    out: Table,
    dialect: DialectName = None,
    size: PictureSize = None,
    images: Images = None,
    column: Columns = None,
    lenient: Lenient = False,
) -> None:
    """Write area, bounding box, centroid and runs of each mask, without painting it."""
    from pipeline.formats.rle.convert import stats as run

    _run(lambda reader: run(reader, out), file, out, dialect, size, images, column, lenient)


@app.command()
def detect(
    file: File,
    size: PictureSize = None,
    images: Images = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Weigh the evidence for every dialect; exit code 3 where none stands out."""
    from pipeline.core.errors import EXIT_SOME_FAILED
    from pipeline.formats.rle.detection import detect as run

    found = run(file, size=_size(size), images=images)
    if json:
        import json as codec

        print(codec.dumps(found.facts(), indent=2))
    else:
        print("\n".join(_lines(found)))
    if found.dialect is None:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command()
def dialects() -> None:
    """List the dialects."""
    from pipeline.formats.rle.dialects import DIALECTS, READ_ONLY, TOOLS

    known = [*DIALECTS.values(), *READ_ONLY.values()]
    head = ("name", "order", "from", "kind", "empty", "layout", "size", "written", "real files")
    rows = [
        (
            d.name,
            "-" if d.layout in TOOLS else d.order,
            "-" if d.layout in TOOLS or d.counts else str(d.base),
            "-" if d.layout in TOOLS else d.kind,
            " or ".join(repr(text) for text in d.empty) or "-",
            d.layout,
            "-" if d.size is None else f"{d.size[0]}x{d.size[1]}",
            "no" if d.name in READ_ONLY else "yes",
            "checked" if d.seen else "NOT SEEN",
        )
        for d in known
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
    for d in known:
        print(f"{d.name}: {d.note}")


def _size(text: str | None) -> tuple[int, int] | None:
    import re

    from pipeline.core.errors import InputError

    if text is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,7})[xX×]([1-9][0-9]{0,7})", text.strip())
    if not found:
        raise InputError(f"{text!r} is not a size", where="--size", remedy="Write HEIGHTxWIDTH, such as 1024x768.")
    return int(found[1]), int(found[2])


def _run(
    work: Callable[[EntryReader], int],
    file: Path,
    out: Path,
    dialect: str | None,
    size: str | None,
    images: Path | None,
    columns: list[str] | None,
    lenient: bool,
) -> None:
    """Do work on the masks of a file; what is repaired is printed and counted."""
    from pipeline.formats.rle.detection import given_or_detected
    from pipeline.formats.rle.entries import EntryReader

    repairs = 0

    def report(line: str) -> None:
        nonlocal repairs
        print(line)
        repairs += 1

    picture = _size(size)
    known = given_or_detected(file, dialect, size=picture, images=images, say=print)
    with _bar(f"{file}") as progress:
        reader = EntryReader(
            file,
            known,
            size=picture,
            images=images,
            lenient=lenient,
            report=report,
            columns=columns,
            progress=progress,
        )
        count = work(reader)
    print(f"{out}: {count} masks" + (f", {repairs} repairs" if repairs else ""))


def _lines(found: Detection) -> Iterator[str]:
    yield f"dialect: {found.dialect or 'not clear'}"
    yield f"reason: {found.reason}"
    if not found.ranking:
        return
    margin = "" if found.margin is None else f"; margin over the next dialect {found.margin:.2f}"
    yield f"masks looked at: {found.cells}{margin}"
    yield ""
    yield "  score  lawful  outline  pieces  landmarks  edges  reading"
    for one in found.ranking:
        cells = [
            f"{one.score:7.2f}",
            f"{one.lawful:6.0%}",
            *(
                f"{'-' if value is None else format(value, form):>{width}}"
                for value, form, width in (
                    (one.outline, ".0f", 7),
                    (one.pieces, ".0f", 6),
                    (one.landmarks, ".0%", 9),
                    (one.edges, ".2f", 5),
                )
            ),
        ]
        names = ", ".join(one.dialects) or "no dialect"
        yield "  ".join(cells) + f"  {one.kind} by {one.order}s from {one.base}: {names}"
        if one.against:
            yield f"{'':52}{one.against}"


@contextmanager
def _bar(what: str) -> Iterator[Callable[[float], None] | None]:
    """A progress bar on a terminal, and nothing in a log."""
    from pipeline.cli.console import on_terminal

    if not on_terminal():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)
