"""What augmentation may do to a scan, by preset name; without torch, so that a configuration is checked at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pipeline.core.errors import InputError
from pipeline.core.study import explain

Probability = Annotated[float, Field(ge=0, le=1)]


def _in_order(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"a range is [low, high] in this order, not {list(bounds)}")
    return bounds


InOrder = AfterValidator(_in_order)
Range = Annotated[tuple[Annotated[float, Field(ge=0)], float], InOrder]
#: Of factors, whose logarithm is drawn.
PositiveRange = Annotated[tuple[Annotated[float, Field(gt=0)], float], InOrder]
#: Of a share of the voxels that is kept: no more than all can be.
KeptRange = Annotated[tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(le=1)]], InOrder]
#: Of a share that is cut off at each end: half of the range at each would leave nothing.
CutRange = Annotated[tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(lt=0.5)]], InOrder]


class AugmentationSpec(BaseModel):
    """Ranges and probabilities of the draws. A probability is that of one scan being changed by one operation.

    Intensities are those after normalisation (about zero mean and unit variance).

    Attributes:
        affine: Probability of rotation, scale, shift and shear together.
        rotation: Largest angle about each axis, degrees.
        scale: Range of the zoom; above 1 enlarges.
        scale_axes: Largest relative difference of the zoom between axes.
        shift: Largest shift along each axis, as a share of the side.
        shear: Largest shear.
        elastic: Probability of a smooth deformation.
        elastic_size: Standard deviation of the control points' displacement, as a share of the side.
        elastic_points: Control points along each axis; cubic splines need at least 4.
        mirror: ``none``; ``lateral``: swap the patient's sides, with their organs; ``all``: every axis.
        mirror_p: Probability of mirroring an axis.
        fill: What lies outside the scan: ``border``, ``reflection`` or ``zeros``.
        brightness: Probability of adding a constant.
        brightness_size: Largest constant added.
        contrast: Probability of multiplying the deviation from the scan's mean.
        contrast_range: Range of that factor.
        window: Probability of cutting the intensities off, as a display window or an overexposed film does; mean and
            spread are then put back, as normalisation would.
        window_range: Range of the share of the intensities' range that is cut off at each end.
        gain: Probability of multiplying the intensities above the scan's darkest.
        gain_range: Range of that factor.
        gamma: Probability of a gamma curve between the scan's extremes.
        gamma_range: Range of the exponent, drawn on a logarithmic scale.
        noise: Probability of Gaussian noise.
        noise_range: Range of its standard deviation.
        blur: Probability of a Gaussian blur.
        blur_range: Range of its standard deviation, voxels.
        low_resolution: Probability of losing resolution.
        low_resolution_range: Range of the share of the voxels kept along each axis.
        bias_field: Probability of a smooth multiplicative field, as of an MRI coil.
        bias_field_size: Standard deviation of its logarithm at the control points.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    affine: Probability = 0.0
    rotation: float = 0.0
    scale: PositiveRange = (1.0, 1.0)
    scale_axes: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    elastic: Probability = 0.0
    elastic_size: float = 0.02
    elastic_points: int = Field(default=6, ge=4)
    mirror: Literal["none", "lateral", "all"] = "none"
    mirror_p: Probability = 0.5
    fill: Literal["border", "reflection", "zeros"] = "border"
    brightness: Probability = 0.0
    brightness_size: float = 0.3
    contrast: Probability = 0.0
    contrast_range: Range = (0.75, 1.25)
    window: Probability = 0.0
    window_range: CutRange = (0.0, 0.25)
    gain: Probability = 0.0
    gain_range: Range = (0.8, 1.2)
    gamma: Probability = 0.0
    gamma_range: PositiveRange = (0.7, 1.5)
    noise: Probability = 0.0
    noise_range: Range = (0.0, 0.1)
    blur: Probability = 0.0
    blur_range: Range = (0.5, 1.0)
    low_resolution: Probability = 0.0
    low_resolution_range: KeptRange = (0.5, 1.0)
    bias_field: Probability = 0.0
    bias_field_size: float = 0.2


PRESETS: Mapping[str, AugmentationSpec] = {
    "none": AugmentationSpec(),
    "mri": AugmentationSpec(
        affine=0.9,
        rotation=20,
        scale=(0.8, 1.2),
        scale_axes=0.05,
        shift=0.06,
        elastic=0.5,
        elastic_size=0.02,
        mirror="lateral",
        brightness=0.3,
        contrast=0.3,
        gamma=0.3,
        noise=0.2,
        blur=0.15,
        low_resolution=0.15,
        bias_field=0.2,
    ),
    # Another hospital's radiograph: exposed, windowed and collimated otherwise. Not mirrored: the heart has a side.
    # Moved and bent far: a hundred radiographs are learnt by heart in a quarter of an hour with less.
    "xray": AugmentationSpec(
        affine=1.0,
        rotation=20,
        scale=(0.65, 1.5),
        scale_axes=0.2,
        shift=0.12,
        shear=0.1,
        elastic=0.7,
        elastic_size=0.03,
        brightness=0.5,
        brightness_size=0.8,
        contrast=0.5,
        contrast_range=(0.5, 1.5),
        window=0.4,
        gamma=0.5,
        gamma_range=(0.5, 2.0),
        noise=0.3,
        noise_range=(0.0, 0.15),
        blur=0.15,
        blur_range=(0.5, 1.5),
        low_resolution=0.25,
        bias_field=0.4,
        bias_field_size=0.3,
    ),
    "photo": AugmentationSpec(
        affine=0.9,
        rotation=20,
        scale=(0.7, 1.4),
        scale_axes=0.1,
        shift=0.1,
        shear=0.05,
        mirror="lateral",
        brightness=0.5,
        brightness_size=0.5,
        contrast=0.5,
        contrast_range=(0.6, 1.4),
        gamma=0.2,
        noise=0.1,
        blur=0.1,
    ),
    # Rotation 15°, shift 0.1, shear 0.01, zoom 0.9-1.25, horizontal flip, reflection, brightness 0.5-1.2.
    "tutorial": AugmentationSpec(
        affine=1.0,
        rotation=15,
        scale=(0.9, 1.25),
        shift=0.1,
        shear=0.01,
        mirror="lateral",
        fill="reflection",
        gain=1.0,
        gain_range=(0.5, 1.2),
    ),
}


def augmentation_spec(spec: Mapping[str, Any] | str | None) -> AugmentationSpec:
    """The specification that a study or plan means.

    Args:
        spec: A preset's name, or ``{"preset": name, field: value}`` with fields of :class:`AugmentationSpec`; ``None``
            is the preset ``none``.

    Raises:
        InputError: There is no such preset or field, or a value is out of range.
    """
    given = {"preset": spec or "none"} if spec is None or isinstance(spec, str) else dict(spec)
    name = given.pop("preset", "none")
    if name not in PRESETS:
        raise InputError(f"there is no preset {name!r}", where="augmentation", remedy=f"Presets: {', '.join(PRESETS)}.")
    try:
        return AugmentationSpec.model_validate({**PRESETS[name].model_dump(), **given})
    except ValidationError as error:
        raise InputError(explain(error, AugmentationSpec), where="augmentation") from None
