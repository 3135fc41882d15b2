"""One inherited tester for every network of the registry: a new network costs one small class."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.inference.model_files import load_tensors, save_tensors
from pipeline.networks import build

torch.set_num_threads(1)


def full(output: Tensor | list[Tensor]) -> Tensor:
    """The logits at full resolution."""
    return output if isinstance(output, Tensor) else output[0]


class NetworkTester:
    """Inherit, set ``spec`` (small) and ``dims``."""

    spec: ClassVar[dict[str, Any]]
    dims: ClassVar[tuple[int, ...]] = (2, 3)
    sides: ClassVar[dict[int, tuple[int, ...]]] = {2: (37, 50), 3: (13, 21, 9)}
    overfit_rate: ClassVar[float] = 1e-2
    overfit_steps: ClassVar[int] = 200
    #: Whether it compiles in one graph.
    one_graph: ClassVar[bool] = True

    def make(self, dims: int, channels: int = 1, outputs: int = 3) -> nn.Module:
        """The network of this class."""
        if dims not in self.dims:
            pytest.skip(f"{self.spec['name']} has no {dims}-D form, or takes minutes in it")
        torch.manual_seed(0)
        return build(self.spec, spatial_dims=dims, in_channels=channels, out_channels=outputs)

    @pytest.mark.parametrize("channels", [1, 3, 4])
    @pytest.mark.parametrize("dims", [2, 3])
    def test_logits_have_the_size_of_the_image(self, dims: int, channels: int) -> None:
        network = self.make(dims, channels).eval()
        with torch.no_grad():
            for batch, sides in ((2, self.sides[dims]), (1, (8,) * dims), (1, (3,) * dims)):
                y = network(torch.randn(batch, channels, *sides))
                assert y.shape == (batch, 3, *sides)
                assert torch.isfinite(y).all()

    @pytest.mark.parametrize("dims", [2, 3])
    def test_training_accepts_one_tiny_scan(self, dims: int) -> None:
        network = self.make(dims).train()
        assert torch.isfinite(full(network(torch.randn(1, 1, *(5,) * dims)))).all()

    @pytest.mark.parametrize("dims", [2, 3])
    def test_gradient_reaches_every_parameter(self, dims: int) -> None:
        network = self.make(dims).train()
        outputs = network(torch.randn(2, 1, *self.sides[dims]))
        outputs = [outputs] if isinstance(outputs, Tensor) else outputs
        sum(functional.cross_entropy(o, torch.randint(0, 3, (2, *o.shape[2:]))) for o in outputs).backward()  # type: ignore[union-attr]
        without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
        assert without == []

    @pytest.mark.parametrize("dims", [2, 3])
    def test_no_convolution_starts_at_zero(self, dims: int) -> None:
        for name, parameter in self.make(dims).named_parameters():
            if parameter.ndim > 2:
                assert parameter.std() > 0, name

    @pytest.mark.parametrize("dims", [2, 3])
    def test_weights_survive_a_file(self, dims: int, tmp_path: Path) -> None:
        network = self.make(dims).eval()
        save_tensors(tmp_path / "weights.safetensors", network.state_dict())
        torch.manual_seed(1)
        other = build(self.spec, spatial_dims=dims, in_channels=1, out_channels=3).eval()
        other.load_state_dict(load_tensors(tmp_path / "weights.safetensors")[0])
        x = torch.randn(1, 1, *(16,) * dims)
        with torch.no_grad():
            torch.testing.assert_close(other(x), network(x), rtol=0, atol=0)

    @pytest.mark.parametrize("dims", [2, 3])
    def test_overfits_one_batch(self, dims: int) -> None:
        network = self.make(dims).train()
        side = 32 if dims == 2 else 16
        x = torch.randn(2, 1, *(side,) * dims) * 0.1
        target = torch.zeros(2, *(side,) * dims, dtype=torch.long)
        target[:, 4:12, 4:12] = 1
        target[:, 8:12, 2:6] = 2
        x[:, 0] += target
        optimiser = torch.optim.Adam(network.parameters(), self.overfit_rate)
        right = 0.0
        for _ in range(self.overfit_steps):
            optimiser.zero_grad()
            logits = full(network(x))
            loss = functional.cross_entropy(logits, target)
            loss.backward()
            optimiser.step()
            right = float((logits.argmax(1) == target)[target > 0].float().mean())
            if right > 0.95:
                return
        pytest.fail(f"only {right:.3f} of the organ voxels are right")

    @pytest.mark.parametrize("dims", [2, 3])
    def test_captured_graph_is_the_network(self, dims: int) -> None:
        # The eager backend proves that the network compiles, in one graph where it can, without minutes of C++.
        network = self.make(dims).eval()
        compiled = torch.compile(network, backend="eager", fullgraph=self.one_graph)
        x = torch.randn(1, 1, *self.sides[dims])
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), network(x), rtol=1e-4, atol=1e-5)
        torch.compiler.reset()

    @pytest.mark.parametrize("dims", [2, 3])
    @pytest.mark.filterwarnings("ignore")
    def test_onnx_gives_the_same_logits_for_any_batch(self, dims: int, tmp_path: Path) -> None:
        runtime = pytest.importorskip("onnxruntime")
        network = self.make(dims).eval()
        side = (32,) * dims if dims == 2 else (16,) * dims
        path = tmp_path / "network.onnx"
        torch.onnx.export(
            network,
            (torch.randn(2, 1, *side),),
            path,
            input_names=["image"],
            output_names=["logits"],
            dynamo=False,
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        )
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for batch in (1, 3):
            x = torch.randn(batch, 1, *side)
            with torch.no_grad():
                expected = network(x).numpy()
            (found,) = session.run(None, {"image": x.numpy()})
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


class TestUNet(NetworkTester):
    spec: ClassVar[dict[str, Any]] = {"name": "unet", "features": [4, 8, 16], "deep_supervision": 1}


class TestResidualUNet(NetworkTester):
    spec: ClassVar[dict[str, Any]] = {
        "name": "unet",
        "features": [4, 8, 16],
        "residual": True,
        "skip": "add",
        "norm": "batch",
        "dropout": 0.05,
        "deep_supervision": True,
    }


class TestGroupNormUNet(NetworkTester):
    spec: ClassVar[dict[str, Any]] = {
        "name": "unet",
        "features": [4, 8, 16],
        "norm": "group",
        "strides": [1, 2, 4],
        "kernel_sizes": [1, 3, 3],
        "deep_supervision": False,
    }


class TestClassic(NetworkTester):
    spec: ClassVar[dict[str, Any]] = {"name": "unet_classic", "features": [4, 8, 16], "dropout": 0.1}


class TestClassicBilinear(NetworkTester):
    spec: ClassVar[dict[str, Any]] = {
        "name": "unet_classic",
        "features": [8, 16, 16],
        "upsampling": "bilinear",
        "dropout": 0.0,
    }
    overfit_rate = 5e-3


class TestTutorial(NetworkTester):
    spec: ClassVar[dict[str, Any]] = {"name": "unet_tutorial", "features": [8, 16, 32]}


class TestEffNetLite0(NetworkTester):
    spec: ClassVar[dict[str, Any]] = {"name": "unet_effnet_lite0", "deep_supervision": 2}
    dims = (2,)


class TestEffNetLite2(NetworkTester):
    spec: ClassVar[dict[str, Any]] = {
        "name": "unet_effnet_lite2",
        "features": (8, 8, 16, 16, 16),
        "norm": "instance",
        "decoder_convs": 2,
    }
    dims = (2,)

    @pytest.mark.slow
    @pytest.mark.parametrize("dims", [2])
    def test_overfits_one_batch(self, dims: int) -> None:
        super().test_overfits_one_batch(dims)


class TestTernausNet11(NetworkTester):
    spec: ClassVar[dict[str, Any]] = {"name": "ternausnet11", "features": 8}
    dims = (2,)
    overfit_rate = 3e-4

    @pytest.mark.slow
    @pytest.mark.parametrize("dims", [2])
    def test_overfits_one_batch(self, dims: int) -> None:
        super().test_overfits_one_batch(dims)


class TestTernausNet16(NetworkTester):
    spec: ClassVar[dict[str, Any]] = {
        "name": "ternausnet16",
        "features": 8,
        "batch_norm": True,
        "upsampling": "nearest",
    }
    dims = (2,)
    overfit_rate = 1e-3

    @pytest.mark.slow
    @pytest.mark.parametrize("dims", [2])
    def test_overfits_one_batch(self, dims: int) -> None:
        super().test_overfits_one_batch(dims)


class TestMonaiSwinUNETR(NetworkTester):
    spec: ClassVar[dict[str, Any]] = {"name": "monai:SwinUNETR", "feature_size": 12}
    dims = (2,)
    one_graph = False  # MONAI's check of the image's size breaks it

    @pytest.fixture(autouse=True)
    def _monai(self) -> None:
        pytest.importorskip("monai")


class TestMonaiSegResNet(NetworkTester):
    spec: ClassVar[dict[str, Any]] = {"name": "monai:SegResNet", "init_filters": 8}

    @pytest.fixture(autouse=True)
    def _monai(self) -> None:
        pytest.importorskip("monai")
