"""The extra ``smp``: every architecture of segmentation_models_pytorch passes the tester of our own networks.

It wants an environment of its own: beside a bare torchvision, other packages break (`import torchmetrics`). ``.ci/run``
makes one.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import save_file

from pipeline.core.errors import InputError
from pipeline.networks import build
from tests.networks.test_networks import NetworkTester

if importlib.util.find_spec("segmentation_models_pytorch") is None:
    pytest.skip("segmentation_models_pytorch is not installed", allow_module_level=True)

ARCHITECTURES = {
    "unet": {"decoder_channels": [32, 16, 16, 8, 8]},
    "unetplusplus": {"decoder_channels": [32, 16, 16, 8, 8]},
    "manet": {"decoder_channels": [32, 16, 16, 8, 8], "decoder_pab_channels": 16},
    "linknet": {},
    "fpn": {"decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32},
    "pspnet": {"psp_out_channels": 32},
    "deeplabv3": {"decoder_channels": 32},
    "deeplabv3plus": {"decoder_channels": 32},
    "pan": {"decoder_channels": 16},
    "upernet": {"decoder_channels": 32},
    "segformer": {"decoder_segmentation_channels": 32},
    "dpt": {"decoder_intermediate_channels": [16, 16, 32, 32], "decoder_fusion_channels": 16},
}
SIZES: dict[str, int] = {"spatial_dims": 2, "in_channels": 1, "out_channels": 3}


def encoder_for(architecture: str) -> str:
    """A small encoder; DPT takes transformers alone."""
    return "tu-vit_tiny_patch16_224" if architecture == "dpt" else "mobilenet_v2"


def tester(architecture: str) -> type[NetworkTester]:
    """The inherited tester for one architecture."""

    class Tester(NetworkTester):
        spec: ClassVar[dict[str, Any]] = {
            "name": f"smp:{architecture}/{encoder_for(architecture)}",
            **ARCHITECTURES[architecture],
        }
        dims = (2,)
        overfit_rate = 3e-3
        one_graph = False

    return Tester


for _architecture in ARCHITECTURES:
    globals()[f"Test{_architecture.capitalize()}"] = tester(_architecture)


def test_all_architectures_of_the_package_are_here() -> None:
    import segmentation_models_pytorch as smp

    assert set(ARCHITECTURES) == set(smp.MODEL_ARCHITECTURES_MAPPING)


def test_weights_come_from_a_file_folded_to_the_channels(tmp_path: Path) -> None:
    rgb = build({"name": "smp:unet/resnet18"}, **{**SIZES, "in_channels": 3})
    state = rgb.network.encoder.state_dict()  # type: ignore[union-attr]
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "model.safetensors")
    spec = {"name": "smp:unetplusplus/resnet18", "weights": str(tmp_path / "model.safetensors")}
    found = build(spec, **SIZES)
    own = found.network.encoder.state_dict()  # type: ignore[union-attr]
    torch.testing.assert_close(own["conv1.weight"], state["conv1.weight"].sum(1, keepdim=True))
    assert torch.equal(own["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    assert [taken.folded for taken in found.taken].count(True) == 1  # type: ignore[union-attr]


def test_weights_that_would_be_downloaded_are_refused_with_what_to_fetch() -> None:
    with pytest.raises(InputError, match=r"model\.safetensors of .*resnet18\.imagenet at revision \w{40}"):
        build({"name": "smp:unet/resnet18", "weights": "imagenet"}, **SIZES)
    with pytest.raises(InputError, match="does not exist"):
        build({"name": "smp:unet/resnet18", "weights": "/nowhere/model.safetensors"}, **SIZES)


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"the encoder resnet18.*conv1\.weight is \(64, 3, 3, 3\)"):
        build({"name": "smp:unet/resnet18", "weights": str(tmp_path / "other.safetensors")}, **SIZES)


@pytest.mark.parametrize("member", ["unet/resnet17", "unett/resnet18", "unet/resnet18/x"])
def test_what_the_package_does_not_know_is_refused(member: str) -> None:
    with pytest.raises(InputError, match="segmentation_models_pytorch refuses"):
        build({"name": f"smp:{member}"}, **SIZES)
