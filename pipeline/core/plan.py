"""The plan of one model: every choice that training and prediction depend on, each with its reason, and no device."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.core.errors import InputError
from pipeline.core.files import digest_of, read_yaml, write_yaml
from pipeline.core.names import Name, OrganName
from pipeline.core.study import explain


class Plan(BaseModel):
    """A model's plan, ``results/<study>/plans/<model>.yaml``; there, each value stands with its reason."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())

    model: Name
    """Name of the model in the study."""
    modality: str
    organs: list[OrganName]
    overlapping: bool
    """Sigmoid and a channel an organ, rather than softmax over background and organs."""
    mirror_pairs: list[tuple[str, str]] = []
    """Organs that become each other in a mirror."""
    in_channels: int = Field(ge=1)
    spatial_dims: Literal[2, 3]
    slice_axis: int | None = None
    """The canonical array axis that 2-D networks see slices across; ``None`` in 3-D and for pictures."""
    spacing: list[float] | None = None
    """Target spacing along the canonical axes, mm (pixels where unknown); ``None`` leaves scans as they are."""
    size: list[int] | None = None
    """For pictures: the box (X, Y) that they are fitted into, aspect kept; ``None`` leaves them as they are."""
    normalisation: dict[str, Any]
    """``name`` and its parameters: ``zscore_foreground``, ``percentile_zscore``, ``ct_window``, ``encoder``."""
    patch: list[int]
    """Voxels along the network's axes (2 or 3 of them)."""
    batch: int = Field(ge=1)
    network: dict[str, Any]
    """``name`` in the registry and its options."""
    loss: dict[str, Any]
    augmentation: dict[str, Any]
    """``preset`` and what differs from it."""
    optimiser: dict[str, Any]
    """``name``, ``learning_rate``, ``weight_decay``, ``gradient_clip``, ``warmup`` (share), ``schedule`` and
    ``ema``."""
    steps: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    foreground_share: float = Field(default=0.5, ge=0, le=1)
    """Share of patches that are centred on an organ, organs taking turns."""
    validate_every: int = Field(ge=1)
    """Steps from one validation to the next."""
    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Overlap of neighbouring windows in prediction."""
    mirror_axes: list[int] = []
    """Network axes mirrored at test time; the lateral one only where all organs know their mirror."""
    deterministic: bool = False
    """Allow only deterministic kernels on a GPU; slower. On a CPU they all are."""
    compile: bool = False
    """Compile the network before the first step."""
    seed: int = 0
    init_from: str | None = None
    reasons: dict[str, str] = {}
    """Field → why it has its value."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give steps or minutes, one of the two")
        if len(self.patch) != self.spatial_dims:
            raise ValueError(f"patch has {len(self.patch)} axes, the network {self.spatial_dims}")
        return self

    @property
    def out_channels(self) -> int:
        """Channels of the network's output: one an organ; before them the background, if organs are exclusive."""
        return len(self.organs) + (0 if self.overlapping else 1)

    def recipe(self) -> dict[str, Any]:
        """What preprocessing depends on; models with equal recipes share preprocessed scans."""
        names = ("modality", "organs", "overlapping", "in_channels", "spacing", "size", "normalisation")
        return {name: getattr(self, name) for name in names}

    def recipe_hash(self) -> str:
        """Name of the folder of preprocessed scans."""
        return digest_of(self.recipe())

    def digest(self) -> str:
        """Hash of all values, not of the reasons."""
        return digest_of(self.model_dump(mode="json", exclude={"reasons"}))

    def write(self, path: Path) -> None:
        """Write as YAML, each value with its reason."""
        values = self.model_dump(mode="json", exclude={"reasons"})
        write_yaml(path, {k: {"value": v, "reason": self.reasons.get(k, "")} for k, v in values.items()})


def parse_plan(values: dict[str, Any], where: str) -> Plan:
    """Check a plan's values.

    Raises:
        InputError: A value is wrong or a key is unknown.
    """
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        raise InputError(explain(error, Plan), where=where) from None


def read_plan(path: Path) -> Plan:
    """Read a plan that :meth:`Plan.write` wrote.

    Raises:
        InputError: The file is absent or is not a plan.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or not all(isinstance(v, dict) and "value" in v for v in content.values()):
        raise InputError("is not a plan", where=str(path), remedy="`organseg plan` writes it.")
    values = {name: entry["value"] for name, entry in content.items()}
    reasons = {name: entry.get("reason") or "" for name, entry in content.items()}
    return parse_plan({**values, "reasons": reasons}, str(path))
