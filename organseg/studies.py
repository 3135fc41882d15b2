"""Studies, and their stages without Snakemake."""

from __future__ import annotations

from pathlib import Path

from pipeline.core import study as studies
from pipeline.core.study import Study


def load_study(name: str, root: str | Path = ".") -> Study:
    """Read and check a study's config.

    Args:
        name: Name of the study: ``configs/<name>.yaml``, or one of the built-in ``demo_xray`` and ``demo_mri``.
        root: Folder that holds ``configs/``.

    Raises:
        InputError: There is no such study, or a value in it is wrong; the message names key and remedy.
    """
    return studies.load_study(name, Path(root))


def run_stage(stage: str, study: str, **options: str | int | bool) -> None:
    """Run one stage of a study in this process, as ``organseg STAGE --study STUDY`` does in one of its own.

    Args:
        stage: ``demo``, ``ingest``, ``rle``, ``plan``, ``preprocess``, ``train``, ``predict``, ``evaluate``,
            ``select``, ``export`` or ``report``; each reads what those before it left in ``results/<study>/``.
        study: Name of the study, whose ``configs/`` and ``data_manifests/`` lie in the working folder.
        options: The command's own options, such as ``model="unet"``, ``part="oof"``, ``threads=2``.

    Raises:
        InputError: The study or what it is made of is wrong; the message says where and how to mend it.
        UsageError: There is no such stage or option; it is typer's, and ``typer.BadParameter`` is one of its kind.
        RuntimeError: The command ended with another exit code than 0.
    """
    from typer.main import get_command

    from pipeline.cli import app

    words = [stage, "--study", study]
    for name, value in options.items():
        words += [] if value is False else [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    code = get_command(app).main(words, prog_name="organseg", standalone_mode=False)
    if code:
        raise RuntimeError(f"organseg {' '.join(words)} ended with exit code {code}")
