"""TernausNet's ImageNet weights, from files made here with the keys and shapes of torchvision's."""

from __future__ import annotations

import hashlib
import urllib.error
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.core.errors import InputError
from pipeline.networks import build
from pipeline.networks import vgg_weights as module

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
    folded = module.fold_channels(filters, channels)
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
    monkeypatch.setitem(module.FILES, (11, False), path.name)
    network = network_from("imagenet", 3)
    assert torch.equal(network.features[0].weight, state["features.0.weight"])


def test_download_is_kept_whole_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = make_file(tmp_path)
    monkeypatch.setenv("ORGANSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "ADDRESS", source.parent.as_uri())
    monkeypatch.setitem(module.FILES, (11, False), source.name)
    network_from("imagenet", 3)
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [source.name]
    source.write_bytes(b"broken")
    (tmp_path / "cache" / source.name).unlink()
    with pytest.raises(InputError, match="damaged"):
        network_from("imagenet", 3)
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_network_the_message_names_file_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("ORGANSEG_CACHE", str(tmp_path))
    monkeypatch.setattr(module.urllib.request, "urlopen", fail)
    with pytest.raises(InputError) as caught:
        network_from("imagenet", 3)
    assert "vgg11-8a719046.pth" in str(caught.value)
    assert str(tmp_path) in str(caught.value)


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
        assert torch.equal(value, state[f"features.{name}"])
    assert network.eval()(torch.randn(1, 3, 32, 32)).shape == (1, 1, 32, 32)
