"""One plan a model: the rules applied to the fingerprint, the study's own values put first, a reason for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.plan import Plan, parse_plan
from pipeline.core.study import ModelConfig, Study
from pipeline.networks import check, entry_of
from pipeline.plan import rules

SET = "set in the study's config"
#: What the study fixes by its own keys; the rest of the plan may be set under ``models.<name>.plan``.
FIXED = ("model", "modality", "organs", "overlapping", "mirror_pairs", "in_channels", "seed", "init_from", "reasons")
#: Multiple that patches of networks are rounded up to whose shape the plan does not set.
MULTIPLE = dict.fromkeys(("ternausnet11", "ternausnet16", *(f"unet_effnet_lite{size}" for size in range(3))), 32)
USUAL_MULTIPLE = 16


@dataclass
class Choices:
    """Values chosen so far; those that the study sets win, and dictionaries are merged key by key."""

    given: dict[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, value: Any, reason: str) -> Any:
        """Choose ``value`` for ``name`` unless the study sets it; returns what is chosen."""
        if name in self.given:
            own = self.given[name]
            # A loss is one thing; of the others, what is not set stays planned.
            merged = name != "loss" and isinstance(value, dict) and isinstance(own, dict)
            if merged and own.get("name", value.get("name")) == value.get("name"):
                value = {**value, **own}
                reason = f"{', '.join(own)}: {SET}; the rest: {reason}" if set(own) < set(value) else SET
            else:
                value, reason = own, SET
        self.values[name] = value
        self.reasons[name] = reason
        return value


def make_plan(study: Study, name: str, fingerprint: dict[str, Any]) -> Plan:
    """Plan one model.

    Args:
        study: The study.
        name: The model's name in it.
        fingerprint: What :func:`~pipeline.plan.fingerprint.measure` gave.

    Raises:
        InputError: The study sets a value that does not fit, or names a network that does not exist.
    """
    config = study.models[name]
    where = f"study config, models.{name}.plan"
    fixed = sorted(set(config.plan) & set(FIXED))
    if fixed:
        raise InputError(f"{', '.join(fixed)} cannot be set here", where=where, remedy="The study's own keys set it.")
    choices = Choices(config.plan)
    network = config.network or name
    dims = _dims(choices, config, network, fingerprint["flat"])
    _identity(choices, study, name, config, fingerprint)
    _budget(choices, study, config)
    _grid(choices, study, fingerprint, dims)
    _normalisation(choices, study.modality, fingerprint)
    _network(choices, network, dims, fingerprint)
    _training(choices, study, network, dims, fingerprint)
    plan = parse_plan({**config.plan, **choices.values, "reasons": choices.reasons}, where)
    check(plan.network, spatial_dims=plan.spatial_dims)
    return plan


def _dims(choices: Choices, config: ModelConfig, network: str, flat: bool) -> int:
    able = entry_of(network).dims
    if config.dims is not None:
        value, reason = config.dims, SET
    elif flat:
        value, reason = 2, "the scans are pictures"
    elif 3 in able:
        value, reason = 3, "the scans are volumes"
    else:
        value, reason = 2, f"{network} exists in 2-D only, so it sees slices"
    if flat and value == 3:
        raise InputError("the scans are pictures, which a 3-D network cannot see", remedy="Set dims to 2.")
    return int(choices.take("spatial_dims", value, reason))


def _identity(choices: Choices, study: Study, name: str, config: ModelConfig, fingerprint: dict[str, Any]) -> None:
    own = "from the study"
    choices.take("model", name, own)
    choices.take("modality", study.modality, own)
    choices.take("organs", list(study.organ_names()), own)
    choices.take("overlapping", study.overlapping, own)
    choices.take("mirror_pairs", [list(pair) for pair in study.mirror_pairs()], own)
    choices.take("in_channels", fingerprint["channels"], "channels of the scans")
    choices.take("seed", study.seed, own)
    choices.take("init_from", config.init_from, own if config.init_from else "training starts from drawn weights")


def _grid(choices: Choices, study: Study, fingerprint: dict[str, Any], dims: int) -> None:
    """Spacing or size, and the axis that slices are taken across."""
    if fingerprint["flat"]:
        shares = [o["share"][2] for o in fingerprint["organs"].values() if "share" in o]
        side, reason = rules.picture_side(max(fingerprint["size"]["median"][:2]), min(shares, default=None))
        choices.take("size", [side, side], f"pictures are fitted into it, aspect kept; {reason}")
        choices.take("spacing", None, "pictures are measured in pixels")
        choices.take("slice_axis", None, "the scans are pictures")
        return
    spacing = fingerprint["spacing"]
    target, reason = rules.target_spacing(spacing["median"], spacing["low"], fingerprint["extent"]["median"])
    chosen = choices.take("spacing", target, reason)
    choices.take("size", None, "the scans are volumes")
    if dims == 3:
        choices.take("slice_axis", None, "the network sees volumes")
    else:
        coarsest = max(range(3), key=lambda axis: (chosen[axis], axis))
        choices.take("slice_axis", coarsest, "across the axis of the coarsest spacing; axial where there is none")


def _normalisation(choices: Choices, modality: str, fingerprint: dict[str, Any]) -> None:
    if modality == "mri":
        if fingerprint["zero_share"] >= 0.2:
            region, reason = "nonzero", f"{fingerprint['zero_share']:.0%} of the voxels are exactly zero"
        elif fingerprint["air_share"] >= 0.2:
            region, reason = "head", f"{fingerprint['air_share']:.0%} of the voxels are air"
        else:
            region, reason = "all", "the scans show next to no air"
        value = {"name": "zscore_foreground", "region": region, "clip": [0.5, 99.5]}
        choices.take("normalisation", value, f"MRI has no absolute scale; {reason}")
    elif modality == "xray":
        value = {"name": "percentile_zscore", "clip": [0.5, 99.5]}
        choices.take("normalisation", value, "exposure and processing differ from one radiograph to the next")
    elif modality == "ct":
        inside = fingerprint["organ_intensity"][0]
        choices.take("normalisation", {"name": "ct_window", **inside}, "Hounsfield units of the organs")
    else:
        choices.take("normalisation", {"name": "encoder"}, "statistics that encoders of colour pictures expect")


def _network(choices: Choices, network: str, dims: int, fingerprint: dict[str, Any]) -> None:
    """Patch and network, which depend on each other."""
    median, largest, spacing = _network_axes(choices, fingerprint, dims)
    sides, reason = rules.patch_sides(median, largest, spacing, rules.PATCH_VOXELS[dims])
    sides = [int(side) for side in choices.given.get("patch", sides)]
    if len(sides) != dims:
        raise InputError(f"patch has {len(sides)} axes, the network {dims}", where="patch")
    shape = rules.topology(sides, spacing)
    value: dict[str, Any] = {"name": network}
    why = "the network's own defaults"
    patch = [int(side) for side in shape.patch]
    if network == "unet":
        short = rules.is_short(choices.values["steps"], choices.values["minutes"])
        value["features"], features_why = rules.feature_counts(len(shape.strides), dims, short)
        value["strides"] = [list(stride) for stride in shape.strides]
        value["kernel_sizes"] = [list(kernel) for kernel in shape.kernels]
        own = choices.given.get("network", {})
        if isinstance(own, dict) and "features" in own and len(own["features"]) < len(shape.strides):
            value["strides"] = value["strides"][: len(own["features"])]
            value["kernel_sizes"] = value["kernel_sizes"][: len(own["features"])]
        # As in SegResNet (Myronenko, 2018): two thirds of nnU-Net's arithmetic lie in a decoder that adds little.
        value["skip"], value["decoder_convs"] = "add", 1
        why = (
            f"an axis is halved while it keeps {rules.LEAST_SIDE} voxels; coarse axes wait; {features_why}; a light "
            "decoder, so that the time goes into more steps"
        )
    else:
        multiple = MULTIPLE.get(network, USUAL_MULTIPLE)
        patch = [-(-side // multiple) * multiple for side in sides]
        if network.startswith("ternausnet"):
            value["batch_norm"] = True
            why = "batch norm, which keeps the scale of what passes through layers whose weights were drawn"
    choices.take("patch", patch, f"{reason}; rounded up for the network's halvings")
    choices.take("network", value, why)
    batch, reason = rules.batch_size(choices.values["patch"], fingerprint["scans"])
    choices.take("batch", batch, reason)


def _network_axes(
    choices: Choices, fingerprint: dict[str, Any], dims: int
) -> tuple[list[float], list[float], list[float]]:
    """Median size, largest size and spacing along the network's axes, on the plan's grid."""
    if fingerprint["flat"]:
        size = choices.values["size"]
        if size is None:
            return fingerprint["size"]["median"][:2], fingerprint["size"]["max"][:2], [1.0, 1.0]
        return list(size), list(size), [1.0, 1.0]
    spacing = choices.values["spacing"]
    if spacing is None:
        median, largest, spacing = fingerprint["size"]["median"], fingerprint["size"]["max"], [1.0, 1.0, 1.0]
    else:
        median = [e / s for e, s in zip(fingerprint["extent"]["median"], spacing, strict=True)]
        largest = [e / s for e, s in zip(fingerprint["extent"]["max"], spacing, strict=True)]
    axes = [axis for axis in range(3) if dims == 3 or axis != choices.values["slice_axis"]]
    return [median[a] for a in axes], [largest[a] for a in axes], [spacing[a] for a in axes]


def _training(choices: Choices, study: Study, network: str, dims: int, fingerprint: dict[str, Any]) -> None:
    choices.take("loss", *_loss(network, fingerprint))
    mirror = _mirror_axes(choices, study, dims)
    choices.take("mirror_axes", *mirror)
    choices.take("augmentation", *_augmentation(study.modality, bool(mirror[0])))
    choices.take("optimiser", *_optimiser(network, choices.values["network"]))
    share = 0.5
    choices.take("foreground_share", share, "half of the patches show an organ for certain, organs taking turns")
    steps = choices.values["steps"]
    every = max(round(steps / 4), 1) if steps else 250
    often = "four times a training" if steps else "every 250 steps, eight times a training at most"
    choices.take("validate_every", every, f"{often}, for the curve; the last weights are the result")
    choices.take("overlap", 0.5, "neighbouring windows share half, so no organ is seen at a border only")
    kernels = "on a GPU the fastest kernels may differ in the last bits from run to run; on a CPU none do"
    choices.take("deterministic", False, kernels)
    choices.take("compile", False, "compiling takes a minute or more, which only long trainings on a GPU win back")


def _optimiser(network: str, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    common = {"gradient_clip": 12.0, "warmup": 0.05, "schedule": "cosine", "ema": 0.99}
    if ":" in network or options.get("weights", "none") != "none":
        value = {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 1e-4}
        return value | common, "AdamW, which suits every kind of layer and keeps what given weights know"
    value = {"name": "muon", "learning_rate": rules.MUON_RATE, "weight_decay": 0.01}
    return value | common, "Muon with a warm-up and cosine learns more than AdamW in as many minutes"


def _budget(choices: Choices, study: Study, config: ModelConfig) -> None:
    """Steps or minutes, from the model or else from the study."""
    own = config.steps is not None or config.minutes is not None
    source = config if own else study.budget
    given = {"steps", "minutes"} & set(choices.given)
    steps = choices.given.get("steps") if given else source.steps
    minutes = choices.given.get("minutes") if given else source.minutes
    if own and steps is not None and minutes is not None and not given:
        raise InputError("steps and minutes are given", where=f"models.{choices.values['model']}", remedy="Keep one.")
    choices.take("steps", steps, "the budget" if steps else "counted before the first step, from minutes")
    choices.take("minutes", minutes, "the budget" if minutes else "the budget is in steps")


def _loss(network: str, fingerprint: dict[str, Any]) -> tuple[dict[str, Any], str]:
    if network.startswith("ternausnet"):
        return {"name": "bce_jaccard"}, "TernausNet's own loss"
    shares = {organ: facts["share"][2] for organ, facts in fingerprint["organs"].items() if "share" in facts}
    smallest = min(shares, key=lambda organ: shares[organ])
    if shares[smallest] < rules.SMALL_ORGAN:
        reason = (
            f"{smallest} is {shares[smallest]:.1%} of a scan: the logarithm keeps its gradient where Dice has none yet"
        )
        return {"name": "dice_ce", "region": "log_jaccard", "batch": True}, reason
    return {"name": "dice_ce"}, "Dice for the overlap, cross entropy for its steady gradient"


def _augmentation(modality: str, mirrored: bool) -> tuple[dict[str, Any], str]:
    reason = f"what differs between machines and patients in {modality}"
    value: dict[str, Any] = {"preset": "mri" if modality == "ct" else modality}
    if modality == "ct":
        value |= {"bias_field": 0.0, "gamma": 0.0}
        reason += "; Hounsfield units know no coil's field"
    if not mirrored:
        value["mirror"] = "none"
        reason += "; not mirrored, as in prediction"
    return value, reason


def _mirror_axes(choices: Choices, study: Study, dims: int) -> tuple[list[int], str]:
    """Network axes whose mirror image is as plausible as the scan."""
    lateral_seen = not (dims == 2 and choices.values["slice_axis"] == 0)
    if not lateral_seen:
        return [], "slices run across left and right"
    if study.modality == "photo":
        return [0], "a photograph has no left and right of its own"
    if all(organ.mirror is not None for organ in study.organs.values()):
        return [0], "every organ knows what it is in a mirror"
    return [], "not every organ knows what it is in a mirror"
