"""The champion: which trained networks predict together, how, and on what evidence, as ``champion.yaml`` says it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.core.errors import InputError
from pipeline.core.files import digest_of, read_json, read_yaml, sha256_of, write_yaml
from pipeline.core.form import check_format
from pipeline.core.names import Name, OrganName, Place, within
from pipeline.core.plan import Plan, parse_plan
from pipeline.core.scan import Modality
from pipeline.core.study import Ingest, Study, explain
from pipeline.inference.postprocessing import OrganSteps

FILE = "champion.yaml"
MODEL = "model.json"
WEIGHTS = "weights.safetensors"
ONNX = "model.onnx"
QUALITY = "quality.json"
#: Of ``champion.yaml``; it rises when an older reader would misread a newer file.
FORMAT = 2
MODEL_FORMAT = 1  # of ``model.json``

BackendName = Literal["onnxruntime", "openvino", "torch"]
Precision = Literal["fp32", "bf16"]


class Part(BaseModel):
    """A part of ``champion.yaml``; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())


class Member(Part):
    """One trained network."""

    model: Name
    """The model of the study."""
    fold: int
    """The fold that it did not train on."""
    folder: Place
    """Its folder inside the champion's: weights, plan and ONNX file."""


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
    study: Name
    modality: Modality
    organs: list[OrganName]
    overlapping: bool
    colors: dict[OrganName, str]
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
    format: int = FORMAT
    """Version of this description."""
    files: dict[Place, str] = {}
    """File in the champion's folder → its sha256."""
    sealed_by: str = ""
    """What made the list of files."""
    seal: str = ""
    """Digest of all else in the description, by which a later change of it is seen."""

    def sealed(self, folder: Path) -> Champion:
        """The same champion with the sha256 of every file in its folder, but of its description.

        Args:
            folder: The champion's folder, complete.
        """
        found = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / FILE)
        files = {path.relative_to(folder).as_posix(): sha256_of(path) for path in found}
        maker = f"organseg {importlib.metadata.version('organseg')}"
        listed = self.model_copy(update={"files": files, "sealed_by": maker})
        return listed.model_copy(update={"seal": listed._digest()})

    def is_untouched(self) -> bool:
        """Whether the description is as ``select`` wrote it. A seal is no signature: who wants to can make one."""
        return self.seal == self._digest()

    def _digest(self) -> str:
        return digest_of(self.model_dump(mode="json", exclude={"seal"}), length=64)

    def verify(self, folder: Path, names: Iterable[str]) -> None:
        """Compare files with what ``select`` wrote.

        Args:
            folder: The champion's folder.
            names: The files that are going to be read, relative to it.

        Raises:
            InputError: One is absent, is not listed, or is another than the listed one.
        """
        for name in names:
            path = within(folder, name)
            if not path.is_file():
                raise InputError("the file does not exist", where=str(path), remedy="`organseg select` writes it.")
            if self.files.get(name) != sha256_of(path):
                said = "is another file than" if name in self.files else "is not among the files"
                raise InputError(
                    f"{said} that `organseg select` packed with this champion",
                    where=str(path),
                    remedy="Copy the champion's folder again from where it was made.",
                )

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
    check_format(content, FORMAT, path, "organseg select")
    try:
        champion = Champion.model_validate(content)
        champion.as_study()  # organs, colours and values that no study could have
        return champion
    except ValidationError as error:
        raise InputError(
            f"is not a champion's description: {explain(error, Champion)}",
            where=str(path),
            remedy="`organseg select` writes it.",
        ) from None


def check_fits(study: Study, champion: Champion) -> None:
    """Check that a champion which was trained elsewhere can be applied to a study's scans.

    Raises:
        InputError: It finds other organs, is for another kind of scan, or its scans were read in another way.
    """
    if list(study.organs) != champion.organs or study.overlapping != champion.overlapping:
        lacking = [organ for organ in study.organs if organ not in champion.organs]
        lacks = f"; it lacks {', '.join(lacking)}" if lacking else ""
        raise InputError(
            f"the model finds {', '.join(champion.organs)}; the study's organs are {', '.join(study.organs)}{lacks}",
            where="model",
            remedy="Give the study the model's organs, in its order, and its overlapping.",
        )
    if study.modality != champion.modality:
        raise InputError(f"the model is for {champion.modality}, the study is of {study.modality}", where="model")
    for name in ("window", "crop_borders"):
        own, theirs = getattr(study.ingest, name), getattr(champion.ingest, name)
        if own != theirs:
            raise InputError(
                f"the model was trained on scans read with {name}: {theirs}, and the study's are read with {own}",
                where=f"ingest.{name}",
                remedy=f"Give the study the model's ingest.{name}.",
            )


def member_plan(folder: Path) -> Plan:
    """The plan of a trained network, read without loading the network.

    Raises:
        InputError: The folder holds no trained model.
    """
    return parse_plan(model_facts(folder)["plan"], str(folder / MODEL))


def member_reading(folder: Path) -> Reading:
    """How the scans were read that a network was trained on; the ordinary way where its folder does not say.

    Raises:
        InputError: The folder holds no trained model.
    """
    facts = model_facts(folder).get("facts")
    return Reading.model_validate(facts.get("ingest", {}) if isinstance(facts, dict) else {})


def model_facts(folder: Path) -> dict[str, Any]:
    """What ``model.json`` of a trained network's folder says.

    Raises:
        InputError: It is absent, is not a model's, or has another version.
    """
    path = folder / MODEL
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("plan"), dict):
        raise InputError("is not a trained model's", where=str(path), remedy="`organseg train` writes it.")
    check_format(content, MODEL_FORMAT, path, "organseg train")
    return content
