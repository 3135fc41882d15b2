"""``python -m monai.bundle run`` on a champion's folder: what ``organseg predict`` does, with MONAI's inferers.

``configs/inference.json`` in the folder names :class:`BundleRun` and :class:`Probabilities`, for MONAI to make and run.
They are named here, not in ``pipeline``, so that a ``pipeline.py`` in the working folder does not hide them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.errors import EXIT_BAD_INPUT, EXIT_SOME_FAILED, InputError
from pipeline.predict.bundle import Probabilities, bundle_predictor

__all__ = ["BundleRun", "Probabilities"]


class BundleRun:
    """Segments every scan in a file or folder.

    Args:
        bundle_root: The champion's folder.
        networks: Its members, in order.
        inferers: A MONAI inferer for each.
        images: File or folder of scans, or a manifest.
        output_dir: Folder for ``nifti/`` and ``predictions.csv``, as ``organseg predict`` writes them.
    """

    def __init__(
        self,
        bundle_root: str,
        networks: Sequence[Probabilities],
        inferers: Sequence[Callable[..., Any]],
        images: str,
        output_dir: str,
    ) -> None:
        from pipeline.export.forms import Job
        from pipeline.export.probabilities import prediction_writer
        from pipeline.inference.champion import read_champion
        from pipeline.predict.model import Model

        champion, self.out = read_champion(Path(bundle_root)), Path(output_dir)
        self.images = Path(images)
        predictor = bundle_predictor(champion, networks, inferers)
        # No judge: MONAI's inferers do not say how far mirrored windows agree, by which verdicts were calibrated.
        self.model = Model(champion, predictor, None, Path(bundle_root))
        job = Job(champion.as_study(["nifti"]), champion.name, champion.study, self.out)
        self.write = prediction_writer(job, predictor.steps, probabilities=False)

    def run(self) -> list[str]:
        """Predict, write and read back; gives the names of the scans.

        Raises:
            SystemExit: 2 where there is nothing to predict, 3 where a scan failed, as ``organseg predict`` ends: MONAI
                would bury any other error in its own.
        """
        from pipeline.cli.outcomes import OutcomeTable
        from pipeline.inference.predictor import files_read
        from pipeline.predict.files import predict_files, write_tables
        from pipeline.predict.inputs import scans_in

        champion = self.model.champion
        try:
            champion.verify(self.model.folder, files_read(champion, self.model.folder, "torch"))
            inputs = scans_in([self.images], champion.modality, champion.ingest)
        except InputError as error:
            print(f"organseg: {error}", file=sys.stderr)
            raise SystemExit(EXIT_BAD_INPUT) from None
        outcomes = OutcomeTable(as_json=False).shown(
            predict_files(inputs, self.model, self.write, self.out), len(inputs)
        )
        write_tables(self.out, self.model, outcomes)
        if any(outcome.reason for outcome in outcomes):
            raise SystemExit(EXIT_SOME_FAILED)
        return [outcome.item.name for outcome in outcomes]
