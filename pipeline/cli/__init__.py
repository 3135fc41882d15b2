"""The command line. Importing it costs no more than typer: what a command needs is imported when it runs."""

from __future__ import annotations

import io
import os
import sys

import typer

from pipeline.cli import manifest, overview_figure, rle, run, runs, stages, study, ui

app = typer.Typer(
    name="organseg",
    help="From raw X-rays and MRI to a trained, measured, reviewable segmentation model.\n\n"
    "A study is a name: configs/NAME.yaml says what to do, data_manifests/NAME.csv with which scans, and "
    "results/NAME/ holds what came of it. `organseg run --study NAME` runs every stage, as does `snakemake --cores 8 "
    "--config study=NAME` in a checkout; each stage is also a command here.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
stages.register(app)
run.register(app)
study.register(app)
runs.register(app)
ui.register(app)
overview_figure.register(app)
app.add_typer(rle.app, name="rle", help="Masks as run lengths: encode, decode, convert, detect.")
app.add_typer(manifest.app, name="manifest", help="Draft, check and mend manifests.")


def main() -> None:
    """Run the command line; bad input ends with exit code 2, what may pass with 75, our own faults with 1."""
    from pipeline.core.errors import EXIT_INTERNAL, UserError, for_the_user
    from pipeline.core.private import keep_to_owner

    keep_to_owner()

    # Waiting threads that spin take the processor from the jobs beside them: a training that shared its cores took
    # three to five times as long. Read when PyTorch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows no "·" or "×" shows a "?" in its place.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
        sys.stdout.flush()
    except BrokenPipeError:
        _end_quietly()
    except SystemExit:
        # Typer ends with 1, a fault of ours, where the reader of its output has gone; this is how it marks that.
        if type(sys.stdout).__name__ == "PacifyFlushWrapper":
            _end_quietly()
        raise
    except UserError as error:
        print(f"organseg: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:
        if os.environ.get("ORGANSEG_DEBUG"):
            raise
        known = for_the_user(error)
        if known is not None:
            print(f"organseg: {known}", file=sys.stderr)
            sys.exit(known.exit_code)
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        place = f" ({frame.tb_frame.f_code.co_filename}:{frame.tb_lineno})" if frame else ""
        print(
            f"organseg: this is a fault of ours: {type(error).__name__}: {error}{place}\n"
            "Run again with ORGANSEG_DEBUG=1 for the details that a report of the fault needs.",
            file=sys.stderr,
        )
        sys.exit(EXIT_INTERNAL)


def _end_quietly() -> None:
    """End as a program does whose reader has gone, such as ``organseg runs | head -1``: by SIGPIPE's exit code."""
    # What Python still holds for the closed stream must not be tried again when it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + 13)
