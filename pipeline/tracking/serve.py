"""The champion as an MLflow model. MLflow copies this file into the model and runs it; there is no pickle.

What goes in is a row a scan, what comes out a row a scan and organ; :data:`INPUTS` and :data:`OUTPUTS` name the
columns.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.core.scan import Scan
    from pipeline.inference.champion import Champion

#: Column → what it is. A row gives ``image`` or ``voxels``.
INPUTS = {
    "image": "bytes of a PNG, JPEG, TIFF, DICOM or NIfTI file; base64 in JSON",
    "voxels": "rows of a picture as it is shown, (X, Y, Z) of a volume in RAS+ order, or (C, X, Y, Z); nested lists; "
    "in a list of scans, which a volume always needs: [volume]",
    "spacing": "mm of a voxel along X, Y and Z of `voxels`; left out where unknown",
}
OUTPUTS = {
    "scan": "row of the input, from 0",
    "organ": "name",
    "shape": "X, Y, Z of the mask, as numbers with × between them",
    "runs": "mask in the RLE dialect organseg: its slices along Z, one below the other, as one picture of X columns",
    "voxels": "voxels in the mask",
    "volume": "size of the organ",
    "unit": "mL; cm² for pictures; voxels or px² where the spacing is unknown",
    "certainty": "Dice that the probabilities expect of the mask",
}


class Segmenter:
    """Loads the champion once and segments what comes."""

    def load_context(self, context: Any) -> None:
        """Open the networks."""
        from pipeline.inference.predictor import open_champion

        self.predictor, self.champion = open_champion(Path(context.artifacts["champion"]))

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Segment a row a scan.

        Args:
            context: Not used; MLflow passes it.
            model_input: Table with columns of :data:`INPUTS`, or an array that is one scan's ``voxels``.
            params: Not used; MLflow passes it.

        Returns:
            A row a scan and organ, with the columns of :data:`OUTPUTS`.

        Raises:
            InputError: A row is not a scan that the champion knows.
        """
        import pandas as pd

        rows = [
            found
            for number, given in enumerate(_rows(model_input))
            for found in self._segment(number, scan_of(given, self.champion))
        ]
        return pd.DataFrame(rows, columns=list(OUTPUTS))

    def _segment(self, number: int, scan: Scan) -> Iterable[dict[str, Any]]:
        from pipeline.core.units import size_unit, voxel_amount
        from pipeline.formats.rle.codec import encode
        from pipeline.formats.rle.volume import on_stored_grid

        found = self.predictor.predict(scan)
        # A picture whose borders were cut off is answered in its whole size.
        labels = on_stored_grid(scan, found.labels) if scan.is_flat else found.labels
        x, y, z = labels.data.shape
        amount = voxel_amount(scan.canonical().grid.spacing, scan.unit, flat=z == 1)
        unit = size_unit(scan.unit, flat=z == 1)
        for organ in labels.organs:
            mask = labels.mask(organ)
            count = int(np.count_nonzero(mask))
            yield {
                "scan": number,
                "organ": organ,
                "shape": f"{x}×{y}×{z}",
                "runs": encode(mask.transpose(2, 1, 0).reshape(z * y, x)),
                "voxels": count,
                "volume": count * amount,
                "unit": unit,
                "certainty": found.certainty[organ],
            }


def _rows(given: Any) -> list[Mapping[str, Any]]:
    """What MLflow hands over, as a mapping a scan."""
    if hasattr(given, "to_dict"):
        if not set(given.columns) & set(INPUTS):
            from pipeline.core.errors import InputError

            raise InputError("the table has neither image nor voxels", remedy=f"image: {INPUTS['image']}.")
        return _one_picture(list(given.to_dict(orient="records")))
    if isinstance(given, Mapping):
        return [given]
    if isinstance(given, np.ndarray):
        return [{"voxels": given}]
    return [one if isinstance(one, Mapping) else {"voxels": one} for one in given]


def _one_picture(rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows as they are, or as one where each is a line of the same picture.

    MLflow makes a table of ``{"inputs": {"voxels": picture}}`` by taking each line of the picture for a scan.
    """
    lines = [row.get("voxels") for row in rows]
    if not lines or not all(
        isinstance(line, (list, tuple, np.ndarray)) and len(line) and np.isscalar(line[0]) for line in lines
    ):
        return rows
    return [{**rows[0], "voxels": lines}]


def scan_of(given: Mapping[str, Any], champion: Champion) -> Scan:
    """Make a scan of one row.

    Raises:
        InputError: It holds neither a readable file nor an array of 2 to 4 axes.
    """
    from pipeline.core.errors import InputError
    from pipeline.formats.table import read_scan_file

    image, voxels = given.get("image"), given.get("voxels")
    if isinstance(image, (bytes, str)) and image:
        data = _file_bytes(image)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scan"
            path.write_bytes(data)
            try:
                return read_scan_file([path], champion.modality, champion.ingest.options())
            except InputError as error:
                # The name of the temporary file tells a caller nothing.
                raise InputError(f"image: {error.what}", remedy=error.remedy) from None
    if voxels is None or isinstance(voxels, float):
        raise InputError("a row holds neither image nor voxels", remedy=f"image: {INPUTS['image']}.")
    return _scan_of_array(voxels, given.get("spacing"), champion)


def _file_bytes(image: bytes | str) -> bytes:
    """The file itself. MLflow decodes base64 in tables, but passes it on as bytes of text in ``inputs``.

    Raises:
        InputError: The text is not base64.
    """
    from pipeline.core.errors import InputError

    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError):
        if isinstance(image, bytes) and not image.isascii():
            return image
        # No format of images is text alone, so text was meant to be base64.
        raise InputError("image is not base64", remedy="Encode the file's bytes as base64.") from None


def _scan_of_array(voxels: Any, spacing: Any, champion: Champion) -> Scan:
    from pipeline.core.errors import InputError
    from pipeline.core.scan import FRONTAL_AFFINE, Scan

    try:
        array = np.asarray(_plain(voxels), np.float32)
    except ValueError:
        raise InputError("voxels is ragged, or holds something that is no number") from None
    if array.ndim == 2:
        array = array.T[None, :, :, None]
    elif array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.size == 0:
        raise InputError(f"voxels has {array.ndim} axes", remedy=f"Give {INPUTS['voxels']}.")
    flat = array.shape[3] == 1
    affine = FRONTAL_AFFINE.copy() if flat else np.eye(4)
    known = spacing is not None and not isinstance(spacing, float)
    if known:
        steps = np.ones(3)
        values = np.asarray(spacing, float).ravel()[:3]
        steps[: len(values)] = values
        if not (np.isfinite(steps).all() and (steps > 0).all()):
            raise InputError("spacing is not up to three numbers above 0")
        affine[:3, :3] = affine[:3, :3] @ np.diag(steps)
    return Scan(array, affine, champion.modality, "patient" if known else "unknown")


def _plain(value: Any) -> Any:
    """Nested object arrays, as tables hold them, as nested lists."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value
    return [_plain(part) for part in value] if isinstance(value, (list, tuple, np.ndarray)) else value


class ServedChampion(Segmenter, PythonModel):  # type: ignore[misc]
    """The segmenter as MLflow wants it.

    Two classes, because MLflow takes hold of a ``predict`` that stands in a model's own class and asks for type hints;
    this model's inputs are described by its signature.
    """


set_model(ServedChampion())
