"""The study: what to do, read from ``configs/<study>.yaml`` and checked when it is read."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.core.errors import InputError
from pipeline.core.explain import explain
from pipeline.core.files import digest_of, read_yaml
from pipeline.core.form import check_results
from pipeline.core.names import Name, OrganName, Word, checked_name, joined_aliases
from pipeline.core.organs import OKABE_ITO, check_shared_values, organ_values, painting_order
from pipeline.core.paths import StudyPaths, shipped
from pipeline.core.scan import Modality

#: What lies in ``results/`` beside the studies.
TAKEN = {"mlflow.db", "mlartifacts"}


class Section(BaseModel):
    """A part of a study's config; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Organ(Section):
    """One organ to segment."""

    value: int | None = Field(default=None, ge=1)
    """Its value in index images and label volumes; by default 1, 2, 3 … in the order of the organs."""
    values: list[int] = []
    """Several values that make it up, such as ``[1, 2, 4]``. Organs that share values are ``overlapping``."""
    color: str | None = Field(default=None, pattern=r"^#[0-9a-fA-F]{6}$")
    """Its colour in RGB palette masks and in pictures, as ``#rrggbb``."""
    mirror: Word | None = None
    """The organ of the other side that it becomes in a mirror, such as ``right_lung`` for ``left_lung``."""
    lesions: bool = False
    """Count its components as lesions: found, missed and spurious ones are reported."""
    snomed: str | None = None
    """SNOMED CT code for DICOM SEG, such as ``39607008``; common organs have one built in."""
    tolerance: float | None = Field(default=None, gt=0)
    """Tolerance of its normalised surface Dice, in mm (pixels where the spacing is unknown)."""
    aliases: list[Word] = []
    """Other names that it has in mask files, such as class names in an RLE CSV."""

    @model_validator(mode="after")
    def _real(self) -> Self:
        if any(value < 1 for value in self.values) or len(set(self.values)) < len(self.values):
            raise ValueError(f"values: whole numbers above 0, each once, not {self.values}")
        if self.value is not None and self.values:
            raise ValueError("give value or values, one of the two")
        return self


class Ingest(Section):
    """How scans and masks are read."""

    shards: int = Field(default=4, ge=1, le=1000)
    """Jobs that the scans are spread over. Changing it ingests all scans again."""
    channels: list[str] = []
    """Names of a scan's channels, where it has several."""
    window: Literal["none", "voi"] | tuple[float, float] = "none"
    """Grey window of radiographs: none, that of the file (``voi``), or ``[centre, width]``."""
    crop_borders: bool = False
    """Cut off burned-in collimation borders of radiographs."""
    empty_mask_cell: Literal["absent", "not_annotated"] | None = None
    """What an empty cell of a column ``mask_<organ>`` means: the organ is ``absent`` in the scan, or nobody looked for
    it (``not_annotated``). Needed where some rows have a mask of an organ and others have not."""
    readers: str | None = None
    """Which mask counts where columns ``mask_<organ>@<reader>`` hold those of several readers: that of one, by name;
    ``majority``: voxels that more than half of a scan's readers marked; ``all``: those that every one marked."""
    stack: str | None = None
    """Files of a folder that are the numbered slices of one volume, such as ``*[0-9].tif``; needs ``stack_spacing``."""
    stack_masks: str | None = None
    """The same for a folder of masks, a picture a slice; by default as ``stack``."""
    stack_spacing: tuple[float, float, float] | None = None
    """Millimetres between columns, rows and slices of a stack."""
    resample_masks: bool = False
    """Bring masks that lie on another grid onto the scan's by nearest neighbour. Otherwise such a mask is an error."""
    mask_threshold: int = Field(default=127, ge=0, le=65535)
    """Grey value above which a pixel of a one-organ-a-file mask belongs to the organ."""
    palette: dict[str, list[str]] = {}
    """RGB palette masks: colour ``#rrggbb`` → the organs that it stands for. Organs' own colours need no entry."""
    palette_tolerance: int = Field(default=60, ge=0, le=441)
    """Largest distance in RGB at which a pixel is still taken for its nearest palette colour."""
    palette_strays: float = Field(default=0.0, ge=0, le=1)
    """Share of pixels beyond that distance that is let pass as background."""
    mask_rows: Literal["down", "up"] | None = None
    """Which way rows run in flat masks (NIfTI, NRRD, MetaImage) where neither scan nor mask says: the first one lies on
    the scan's first row (``down``), or on its last (``up``), as dcm2niix writes radiographs."""
    rle_dialect: str | None = None
    """Dialect of RLE CSV masks that do not name their own."""
    background: list[int | str] = [0]
    """Values of index images and label volumes, and names of segments, that mean background."""
    ignore: list[int] = []
    """Values of index images and label volumes to be neither trained nor measured on."""
    seconds: float = Field(default=60, gt=0)
    """Time one scan may take to decode before it is rejected."""
    memory_gib: float = Field(default=4, gt=0)
    """Memory that decoding one scan may take before it is rejected."""

    @model_validator(mode="after")
    def _stack_whole(self) -> Self:
        if (self.stack is None) != (self.stack_spacing is None) or (self.stack_masks and not self.stack):
            raise ValueError("stack: give stack and stack_spacing together; stack_masks needs both")
        if self.stack_spacing and min(self.stack_spacing) <= 0:
            raise ValueError("stack_spacing: three numbers above 0")
        return self


class Split(Section):
    """Which patients are trained on, validated on and tested on. Columns of the manifest win where they are given."""

    test_fraction: float = Field(default=0.2, ge=0, lt=1)
    """Share of patients set apart for the test."""
    folds: int = Field(default=1, ge=1, le=20)
    """1 is a plain validation split; more is cross-validation by patient."""
    validation_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of development patients that validate, where there is one fold."""
    seed: int = 0
    """Seed of the draw."""


class ModelConfig(Section):
    """One model of the study. What is not given is planned from the data."""

    network: str | None = None
    """Name in the registry of networks; by default the model's own name."""
    dims: Literal[2, 3] | None = None
    """2 to see slices, 3 to see volumes."""
    steps: int | None = Field(default=None, ge=1)
    """Optimiser steps; wins over the study's budget."""
    minutes: float | None = Field(default=None, gt=0)
    """Minutes of training, turned into steps before the first one; wins over the study's budget."""
    plan: dict[str, Any] = {}
    """Values of the plan to set by hand, such as ``{patch: [64, 64, 32], batch: 2}``."""
    init_from: str | None = None
    """Folder of a trained model whose weights training starts from."""


class Budget(Section):
    """How long each model trains: steps, or minutes, one of the two."""

    steps: int | None = Field(default=None, ge=1)
    """Optimiser steps a model and fold."""
    minutes: float | None = Field(default=None, gt=0)
    """Minutes a model and fold."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give steps or minutes, one of the two")
        return self


class Evaluate(Section):
    """What is measured."""

    tolerances: list[float] = [1.0, 2.0]
    """Tolerances of normalised surface Dice, in mm (pixels where the spacing is unknown); the first is the headline."""
    bootstrap: int = Field(default=2000, ge=100)
    """Draws of the bootstrap over patients."""
    subgroups: list[Word] = []
    """Columns of the manifest to report apart."""
    site: Word | None = None
    """Column of the manifest that names the site a scan comes from."""
    cardiothoracic_ratio: bool = False
    """Measure heart over thorax width; needs organs ``heart``, ``left_lung`` and ``right_lung``."""
    dice_limit: float = Field(default=0.8, gt=0, lt=1)
    """Dice below which a segmentation needs correction."""


class Select(Section):
    """How the champion is chosen, from out-of-fold results alone."""

    ensembles: bool = True
    """Consider the mean of all models, not only each alone."""
    postprocessing: bool = True
    """Consider keeping the largest component, filling holes and dropping specks, organ by organ."""


class Export(Section):
    """Which files the champion's predictions become."""

    formats: list[
        Literal[
            "nifti",
            "rle",
            "dicom_seg",
            "overlays",
            "spotlight",
            "surfaces",
            "coco",
            "nnunet",
            "bids",
            "source_labels",
            "probabilities",
        ]
    ] = ["nifti", "rle", "dicom_seg", "overlays"]
    """Forms to write. ``probabilities`` are float32 volumes of each organ, which take much disk."""
    source_order: list[str] = []
    """Order in which organs are painted into ``source_labels``, label volumes with the source's values: later ones win,
    as in ``[whole, core, enhancing]``. Where several values of an organ would do, write ``whole=2``."""
    rle_dialect: str = "organseg"
    """Dialect of the RLE CSV files, of the masks' too."""
    identity: Literal["hashed"] = "hashed"
    """What DICOM SEG objects refer to: de-identified instances with keyed-hash UIDs."""


class Tracking(Section):
    """Where runs are logged."""

    uri: str | None = None
    """MLflow tracking URI; by default ``MLFLOW_TRACKING_URI``, else a SQLite file in ``results``."""


class Demo(Section):
    """The built-in demo's phantoms."""

    seed: int = 7
    """Seed that the phantoms are made from."""
    count: int | None = Field(default=None, ge=4)
    """How many scans to make; by default 30 radiographs or 20 volumes."""


class Study(Section):
    """A study's config, ``configs/<study>.yaml``."""

    title: str = ""
    """One line for the report."""
    description: str = ""
    """A few sentences for the report: what the scans are and where they come from."""
    modality: Modality
    """``xray``, ``mri``, ``ct`` or ``photo``."""
    organs: dict[OrganName, Organ]
    """The organs by name, in order. A plain list of names will do."""
    overlapping: bool = False
    """Whether a voxel may belong to several organs, as in radiographs (a channel an organ, sigmoid)."""
    data_root: str | None = None
    """Folder that the manifest's paths start from; by default ``ORGANSEG_DATA``, else ``data``."""
    group: str | None = None
    """Group of users that may read the results; by default nobody but who runs the study."""
    seed: int = 0
    """Seed of training."""
    demo: Demo | None = None
    """Make the scans first; only the built-in demo studies have this."""
    names: dict[str, str] = {}
    """What segments are called in mask files → the organ, such as ``{Oberschenkel: femur}``; as organs' ``aliases``."""
    ingest: Ingest = Ingest()
    split: Split = Split()
    budget: Budget = Budget(steps=1000)
    models: dict[Name, ModelConfig] = {"unet": ModelConfig()}
    """Models to train, by name."""
    model: str | None = None
    """A trained model to apply, without training: a ``champion`` folder or ``models:/name@alias``."""
    evaluate: Evaluate = Evaluate()
    select: Select = Select()
    export: Export = Export()
    tracking: Tracking = Tracking()

    @field_validator("organs", mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {str(name): {} for name in value}
        if isinstance(value, dict):
            return {str(name): ({} if organ is None else organ) for name, organ in value.items()}
        return value

    @field_validator("models", mode="before")
    @classmethod
    def _models_from_list(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {str(name): {} for name in value}
        if isinstance(value, dict):
            return {str(name): ({} if model is None else model) for name, model in value.items()}
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.organs:
            raise ValueError("organs: name at least one")
        joined = joined_aliases(self.names, {name: organ.aliases for name, organ in self.organs.items()})
        for name, aliases in joined.items():
            self.organs[name] = self.organs[name].model_copy(update={"aliases": aliases})
        self._take_shared_values()
        for name in self.models:
            if name in {"champion", "mean_shape"}:
                raise ValueError(f"models: {name!r} cannot be a model's name: it is that of something else")
        for name, organ in self.organs.items():
            if organ.mirror is not None and organ.mirror not in self.organs:
                raise ValueError(f"organs: {name} mirrors {organ.mirror!r}, which is not an organ of the study")
            if organ.mirror is not None and self.organs[organ.mirror].mirror not in {None, name}:
                raise ValueError(f"organs: {name} and {organ.mirror} do not mirror each other")
        values = {value for own in self.source_values().values() for value in own}
        taken = set(self.ingest.background) | set(self.ingest.ignore)
        if taken & values:
            raise ValueError(f"organs: the values {sorted(taken & values)} are background or ignored in ingest")
        if self.export.source_order or "source_labels" in self.export.formats:
            painting_order(self.organs, self.export.source_order)
        if self.evaluate.cardiothoracic_ratio and not {"heart", "left_lung", "right_lung"} <= set(self.organs):
            raise ValueError("evaluate: cardiothoracic_ratio needs organs heart, left_lung and right_lung")
        return self

    def _take_shared_values(self) -> None:
        """Organs that share values of a label volume overlap."""
        if not check_shared_values(self.organs) or self.overlapping:
            return
        if "overlapping" in self.model_fields_set:
            raise ValueError("overlapping: organs that share values overlap; set it to true, or leave it out")
        self.__dict__["overlapping"] = True

    def source_values(self) -> dict[str, tuple[int, ...]]:
        """Organ → the values that make it up in index images and label volumes."""
        return organ_values(self.organs)

    def values(self) -> dict[str, int]:
        """Organ → the one value that stands for it in files that organseg writes; each has another."""
        own = self.source_values()
        first = {name: values[0] for name, values in own.items()}
        return first if len(set(first.values())) == len(first) else {name: n for n, name in enumerate(own, 1)}

    def organ_names(self) -> tuple[str, ...]:
        """The organs in order."""
        return tuple(self.organs)

    def mirror_pairs(self) -> list[tuple[str, str]]:
        """Pairs of organs that become each other in a mirror, each pair once."""
        pairs = []
        for name, organ in self.organs.items():
            if organ.mirror is not None and organ.mirror != name and (organ.mirror, name) not in pairs:
                pairs.append((name, organ.mirror))
        return pairs

    def colors(self) -> dict[str, str]:
        """Organ → ``#rrggbb`` for pictures, told apart by people with any colour vision where the study sets none."""
        return {
            name: organ.color or OKABE_ITO[index % len(OKABE_ITO)]
            for index, (name, organ) in enumerate(self.organs.items())
        }

    def digest(self) -> str:
        """Hash of the whole config."""
        return digest_of(self.model_dump(mode="json"))


def study_path(name: str, root: Path | None = None) -> Path:
    """Where a study's config lies: in ``configs/``, or in the package where it is a demo's and not there."""
    own = (root or Path()) / "configs" / f"{name}.yaml"
    built_in = shipped() / "configs" / own.name
    return built_in if name.startswith("demo_") and built_in.is_file() and not own.is_file() else own


def load_study(name: str, root: Path | None = None) -> Study:
    """Read and check ``configs/<name>.yaml``.

    Raises:
        InputError: The file is absent, is not YAML, or a value in it is wrong; unknown keys come with the nearest
            right one. Its results were written by an organseg whose form is another.
    """
    path = study_path(checked_name(name, "a study's name"), root)
    if name in TAKEN:
        raise InputError(f"{name!r} is the name of something else in results/", remedy="Give the study another name.")
    if not path.is_file():
        known = sorted({p.stem for p in [*path.parent.glob("*.yaml"), *(shipped() / "configs").glob("demo_*.yaml")]})
        near = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"there is no study {name!r}",
            where=str(path),
            remedy=f"{hint}Studies here: {', '.join(known) or 'none'}.",
        )
    study = parse_study(read_yaml(path), str(path))
    check_results(StudyPaths(name, root or Path()))
    return study


def parse_study(value: Any, where: str) -> Study:
    """Check a config that was read already; ``where`` names it in errors.

    Raises:
        InputError: As in :func:`load_study`.
    """
    if not isinstance(value, dict):
        raise InputError("holds no keys", where=where, remedy="A study needs at least modality and organs.")
    try:
        return Study.model_validate(value)
    except ValidationError as error:
        raise InputError(explain(error, Study), where=where, remedy="`organseg schema` lists every key.") from None


def data_root(study: Study, root: Path | None = None) -> Path:
    """Folder that the manifest's paths start from."""
    folder = study.data_root or os.environ.get("ORGANSEG_DATA") or "data"
    return (root or Path()) / folder
