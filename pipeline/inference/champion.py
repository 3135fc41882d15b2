"""The champion: which trained networks predict together, how, and on what evidence, as ``champion.yaml`` says it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.core.errors import InputError
from pipeline.core.files import read_json, read_yaml, write_yaml
from pipeline.core.plan import Plan, parse_plan
from pipeline.core.scan import Modality
from pipeline.core.study import Ingest, Study, explain
from pipeline.inference.postprocessing import OrganSteps

FILE = "champion.yaml"
MODEL = "model.json"
WEIGHTS = "weights.safetensors"
ONNX = "model.onnx"
QUALITY = "quality.json"

BackendName = Literal["onnxruntime", "openvino", "torch"]
Precision = Literal["fp32", "bf16"]


class Part(BaseModel):
    """A part of ``champion.yaml``; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())


class Member(Part):
    """One trained network."""

    model: str
    """The model of the study."""
    fold: int
    """The fold that it did not train on."""
    folder: str
    """Its folder inside the champion's: weights, plan and ONNX file."""
    weights: str = ""
    """sha256 of its weights file."""


class Backend(Part):
    """What runs the networks, as it was evaluated."""

    gpu: Precision | None = None
    """Precision of PyTorch on a GPU; ``None`` where no GPU took part in the evaluation, and none is used."""
    name: BackendName = "onnxruntime"
    precision: Precision = "fp32"
    tolerance: float = 1e-3
    """Largest difference of a probability between this backend and PyTorch in fp32 that was let pass."""
    parity: dict[str, float] = {}
    """Member's folder → largest difference found."""


class Reading(Part):
    """How the study read its scans: whatever else the networks are to see is read the same way."""

    channels: list[str] = []
    """Names of a scan's channels, in their order."""
    window: Literal["none", "voi"] | tuple[float, float] = "none"
    """Grey window of radiographs, as in a study's ``ingest.window``."""
    crop_borders: bool = False
    """Cut off burned-in collimation borders of radiographs."""

    @classmethod
    def of(cls, ingest: Ingest) -> Reading:
        """What a study's section ``ingest`` says of it."""
        return cls(channels=ingest.channels, window=ingest.window, crop_borders=ingest.crop_borders)

    def options(self, **bounds: float) -> Ingest:
        """As the readers of scans take it.

        Args:
            bounds: ``seconds`` and ``memory_gib``, where they are not the ordinary ones.
        """
        return Ingest.model_validate({**self.model_dump(), **bounds})


class Champion(Part):
    """``champion.yaml``."""

    name: str
    """The models that predict together."""
    study: str
    modality: Modality
    organs: list[str]
    overlapping: bool
    colors: dict[str, str]
    values: dict[str, int] = {}
    """Organ → its value in the study's masks; without, organs count from 1, as in a single fold's folder."""
    codes: dict[str, str] = {}
    """Organ → SNOMED CT code, where the study gives one."""
    mirror_pairs: list[tuple[str, str]] = []
    ingest: Reading = Reading()
    """How scans are read before the networks see them."""
    members: list[Member] = Field(min_length=1)
    """Their probabilities are averaged."""
    mirror: bool = False
    """Average over mirrored windows too, along each member's own mirror axes."""
    postprocessing: dict[str, OrganSteps] = {}
    backend: Backend = Backend()
    evidence: dict[str, Any] = {}
    """Out-of-fold figures that the choice was made on."""

    def thresholds(self) -> dict[str, float]:
        """Organ → least probability, where it is not the ordinary one."""
        return {o: steps.threshold for o, steps in self.postprocessing.items() if steps.threshold is not None}

    def as_study(self, formats: Sequence[str] = ()) -> Study:
        """What exports need to know of a study: the organs with their values, colours and codes.

        Args:
            formats: Forms to export, as in a study's ``export.formats``.
        """
        mirrors = dict(self.mirror_pairs) | {b: a for a, b in self.mirror_pairs}
        organs = {
            name: {
                "value": self.values.get(name),
                "color": self.colors.get(name),
                "snomed": self.codes.get(name),
                "mirror": mirrors.get(name),
            }
            for name in self.organs
        }
        return Study.model_validate(
            {
                "modality": self.modality,
                "organs": organs,
                "overlapping": self.overlapping,
                "export": {"formats": list(formats)},
            }
        )

    def write(self, path: Path) -> None:
        """Write as YAML."""
        write_yaml(path, self.model_dump(mode="json", exclude_defaults=False))


def read_champion(path: Path) -> Champion:
    """Read ``champion.yaml``, or that of a champion's folder.

    Raises:
        InputError: It is absent or is not a champion's.
    """
    path = Path(path)
    if path.is_dir():
        path = path / FILE
    content = read_yaml(path)
    try:
        return Champion.model_validate(content)
    except ValidationError as error:
        raise InputError(
            f"is not a champion's description: {explain(error, Champion)}",
            where=str(path),
            remedy="`organseg select` writes it.",
        ) from None


def member_plan(folder: Path) -> Plan:
    """The plan of a trained network, read without loading the network.

    Raises:
        InputError: The folder holds no trained model.
    """
    return parse_plan(_facts(folder)["plan"], str(folder / MODEL))


def member_reading(folder: Path) -> Reading:
    """How the scans were read that a network was trained on; the ordinary way where its folder does not say.

    Raises:
        InputError: The folder holds no trained model.
    """
    facts = _facts(folder).get("facts")
    return Reading.model_validate(facts.get("ingest", {}) if isinstance(facts, dict) else {})


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / MODEL
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("plan"), dict):
        raise InputError("is not a trained model's", where=str(path), remedy="`organseg train` writes it.")
    return content
