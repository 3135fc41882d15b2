"""The registry: names, options, lazy imports, and what is particular to one network."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.nn import functional

from pipeline.core.errors import InputError
from pipeline.networks import build, check, entry_of, names
from pipeline.networks.blocks import MaxPool, pad_to_multiple
from pipeline.networks.norm import instance_norm_act

torch.set_num_threads(1)
SIZES = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}


def test_registry_checks_a_name_without_torch() -> None:
    code = (
        "import sys; from pipeline.networks import names, check; "
        "check({'name': 'unet'}, spatial_dims=3); print(names()); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_every_entry_builds_something() -> None:
    own = {"unet", "unet_classic", "unet_tutorial", "ternausnet11", "ternausnet16"}
    assert own | {f"unet_effnet_lite{size}" for size in range(3)} | {"monai:", "smp:"} == set(names())
    for name in names():
        assert entry_of(name + "x" if name.endswith(":") else name).summary


@pytest.mark.parametrize(
    ("spec", "dims", "said"),
    [
        ({"name": "unett"}, 2, "Did you mean unet"),
        ({"name": "monay:SegResNet"}, 2, "monai:"),
        ({"name": "monai:"}, 2, "lacks its member"),
        ({}, 2, "has no name"),
        ({"name": "ternausnet11"}, 3, "2-D only"),
        ({"name": "unet", "feature": [4, 8]}, 2, "Did you mean features"),
    ],
)
def test_wrong_specifications_say_what_is_meant(spec: dict[str, Any], dims: int, said: str) -> None:
    with pytest.raises(InputError) as caught:
        check(spec, spatial_dims=dims)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "unet", "features": [8]},
        {"name": "unet", "features": "8"},
        {"name": "unet", "strides": [1, 2]},
        {"name": "unet", "strides": [2, 2, 2, 2]},
        {"name": "unet", "kernel_sizes": [2, 3, 3, 3]},
        {"name": "unet", "kernel_sizes": [[3, 3, 3], 3, 3, 3]},
        {"name": "unet", "norm": "layer"},
        {"name": "unet", "skip": "sum"},
        {"name": "unet", "dropout": 1.5},
        {"name": "unet", "encoder_convs": 0},
        {"name": "unet_classic", "upsampling": "cubic"},
        {"name": "unet_classic", "dropout": -0.1},
        {"name": "ternausnet11", "features": 0},
        {"name": "ternausnet11", "weights": "/nowhere/vgg.pth"},
    ],
)
def test_wrong_options_are_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        build(spec, **SIZES)


def test_monai_family_says_what_is_wrong() -> None:
    pytest.importorskip("monai")
    with pytest.raises(InputError, match="has no network"):
        build({"name": "monai:SegResNett"}, **SIZES)
    with pytest.raises(InputError, match="has no option init_filter"):
        build({"name": "monai:SegResNet", "init_filter": 8}, **SIZES)


@pytest.mark.parametrize("member", ["UNet", "AttentionUnet", "BasicUNet", "DynUNet", "SwinUNETR", "FlexibleUNet"])
def test_monai_defaults_take_any_size(member: str) -> None:
    pytest.importorskip("monai")
    network = build({"name": f"monai:{member}"}, **SIZES).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 1, 40, 25)).shape == (1, 2, 40, 25)


def test_monai_deep_supervision_is_a_list_in_training_only() -> None:
    pytest.importorskip("monai")
    network = build({"name": "monai:DynUNet", "deep_supervision": True, "filters": [4, 8, 8, 8]}, **SIZES)
    assert [tuple(y.shape) for y in network.train()(torch.randn(2, 1, 20, 20))] == [(2, 2, 20, 20)] * 2
    assert network.eval()(torch.randn(2, 1, 20, 20)).shape == (2, 2, 20, 20)


def test_smp_family_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(InputError, match="monai:FlexibleUNet"):
        build({"name": "smp:unet/resnet18"}, **SIZES)
    with pytest.raises(InputError, match="does not name an encoder"):
        build({"name": "smp:unet"}, **SIZES)


def test_deep_supervision_gives_lower_resolutions_in_training_only() -> None:
    spec = {"name": "unet", "features": [4, 4, 4, 4, 4], "deep_supervision": True}
    network = build(spec, spatial_dims=3, in_channels=1, out_channels=2)
    x = torch.randn(1, 1, 32, 32, 48)
    assert [tuple(y.shape[2:]) for y in network.train()(x)] == [(32, 32, 48), (16, 16, 24), (8, 8, 12), (4, 4, 6)]
    assert network.eval()(x).shape == (1, 2, 32, 32, 48)


def test_unet_follows_an_anisotropic_plan() -> None:
    spec = {
        "name": "unet",
        "features": [4, 8, 8],
        "strides": [[1, 1, 1], [2, 2, 1], [2, 2, 2]],
        "kernel_sizes": [[3, 3, 1], [3, 3, 3], [3, 3, 3]],
    }
    network = build(spec, spatial_dims=3, in_channels=1, out_channels=2)
    assert network.min_multiple == (4, 4, 2)
    assert network.down[0].convs[0][0].weight.shape[2:] == (3, 3, 1)
    assert network.eval()(torch.randn(1, 1, 9, 10, 5)).shape == (1, 2, 9, 10, 5)


def test_first_level_of_unet_is_monai_dynunet_in_size() -> None:
    nets = pytest.importorskip("monai.networks.nets")
    ours = build({"name": "unet"}, spatial_dims=3, in_channels=1, out_channels=3)
    theirs = nets.DynUNet(
        3, 1, 3, [3] * 4, [1, 2, 2, 2], [2, 2, 2], filters=[16, 32, 64, 128], deep_supervision=True, deep_supr_num=1
    )
    count = [sum(p.numel() for p in network.parameters()) for network in (ours, theirs)]
    assert count[0] == count[1]


@pytest.mark.parametrize("slope", [0.01, 1.0])
@pytest.mark.parametrize("shape", [(2, 5, 6, 7), (2, 4, 5, 3, 6)])
def test_fused_norm_is_instance_norm_and_its_gradient(shape: tuple[int, ...], slope: float) -> None:
    torch.manual_seed(0)
    layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    x = (torch.randn(shape) * 3 + 2).contiguous(memory_format=layout).requires_grad_()
    weight, bias = torch.rand(shape[1]).requires_grad_(), torch.rand(shape[1]).requires_grad_()
    towards = torch.randn(shape)
    found = instance_norm_act(x, weight, bias, slope)
    expected = functional.leaky_relu(functional.instance_norm(x, None, None, weight, bias), slope)
    assert type(found.grad_fn).__name__ == "_FusedNormActBackward"
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for one, other in zip(
        torch.autograd.grad(found, (x, weight, bias), towards),
        torch.autograd.grad(expected, (x, weight, bias), towards),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_channels_last_and_plain_memory_agree() -> None:
    torch.manual_seed(0)
    network = build({"name": "unet", "features": [8, 16, 16]}, spatial_dims=3, in_channels=1, out_channels=2)
    x = torch.randn(2, 1, 16, 16, 8)
    plain = network(x)[0]
    network = network.to(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(network(x)[0], plain, rtol=1e-3, atol=1e-4)


def test_deterministic_max_pooling_is_max_pooling() -> None:
    x = torch.randn(2, 3, 4, 6, 8)
    expected = MaxPool()(x)
    torch.use_deterministic_algorithms(True)
    try:
        torch.testing.assert_close(MaxPool()(x), expected, rtol=0, atol=0)
    finally:
        torch.use_deterministic_algorithms(False)


def test_padding_repeats_the_last_voxel() -> None:
    x = torch.arange(10.0).view(1, 1, 2, 5)
    padded = pad_to_multiple(x, (1, 4))
    assert padded.shape == (1, 1, 2, 8)
    assert padded[0, 0, :, 5:].tolist() == [[4.0] * 3, [9.0] * 3]
    assert pad_to_multiple(padded, (1, 4)) is padded


def test_dynamo_export_has_a_dynamic_batch() -> None:
    network = build({"name": "unet", "features": [4, 8]}, **SIZES).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(network, (torch.randn(2, 1, 16, 16),), dynamic_shapes=({0: batch},))
    x = torch.randn(5, 1, 16, 16)
    torch.testing.assert_close(program.module()(x), network(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "features", "dropout"),
    [("unet_classic", [64, 128, 256, 512], 0.3), ("unet_tutorial", [8, 16, 32, 64, 128], 0.0)],
)
def test_textbook_networks_are_as_the_textbook_has_them(name: str, features: list[int], dropout: float) -> None:
    network = build({"name": name}, spatial_dims=2, in_channels=1, out_channels=3)
    kernels = [tuple(m.weight.shape) for m in network.down.modules() if isinstance(m, torch.nn.Conv2d)]
    expected = [(into, out) for into, out in zip([1, *features], features, strict=False)]
    assert kernels == [(out, i, 3, 3) for into, out in expected for i in (into, out)]
    norms = [m.num_features for m in network.down.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms == [count for count in features for _ in range(2)]
    ups = [tuple(m.weight.shape) for m in network.up.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
    assert ups == [(below, here, 2, 2) for here, below in pairwise(features)]
    assert network.dropout.p == dropout
    assert network.head.weight.shape == (3, features[0], 1, 1)
    assert network.train()(torch.randn(2, 1, 32, 32)).shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    ("name", "convolutions"),
    [
        ("ternausnet11", [64, 128, 256, 256, 512, 512, 512, 512]),
        ("ternausnet16", [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]),
    ],
)
def test_ternausnets_encoder_is_vggs(name: str, convolutions: list[int]) -> None:
    network = build({"name": name}, spatial_dims=2, in_channels=3, out_channels=1)
    kernels = [tuple(m.weight.shape) for m in network.features.modules() if isinstance(m, torch.nn.Conv2d)]
    assert kernels == [(out, into, 3, 3) for into, out in pairwise([3, *convolutions])]
    assert sum(isinstance(m, MaxPool | torch.nn.MaxPool2d) for m in network.features.modules()) >= 4
