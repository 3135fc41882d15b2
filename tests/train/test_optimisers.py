"""Optimisers: Muon against PyTorch's own and against its definition, who is moved by what, names that do not exist."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.core.errors import InputError
from pipeline.train.optimisers import COEFFICIENTS, ITERATIONS, REST, Muon, make_optimiser, orthogonal, set_rate


def defined(matrix: Tensor) -> Tensor:
    """Newton-Schulz as it is written down, in float64."""
    x = matrix.double()
    flipped = x.shape[0] > x.shape[1]
    x = x.T if flipped else x
    x = x / x.norm()
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if flipped else x


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 90), st.integers(0, 2**31), st.floats(-5, 5))
def test_orthogonal_is_as_defined(rows: int, columns: int, seed: int, size: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    stack = torch.randn(2, rows, columns, generator=draw) * 10**size
    found = orthogonal(stack)
    for one, of in zip(found, stack, strict=True):
        torch.testing.assert_close(one.double(), defined(of), atol=2e-4, rtol=0)


def test_all_directions_count_alike_however_small() -> None:
    draw = torch.Generator().manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(64, 64, generator=draw))
    right, _ = torch.linalg.qr(torch.randn(576, 64, generator=draw))
    values = torch.logspace(0, -2.5, 64)
    found = torch.linalg.svdvals(orthogonal((left * values @ right.T)[None])[0])
    assert found.min() > 0.5
    assert found.max() < 1.25
    assert torch.equal(orthogonal(torch.zeros(1, 4, 9)), torch.zeros(1, 4, 9))


def test_muon_steps_as_pytorch_does_on_a_matrix() -> None:
    draw = torch.Generator().manual_seed(1)
    first = torch.randn(24, 54, generator=draw)
    kernel, matrix = nn.Parameter(first.clone().view(24, 6, 3, 3)), nn.Parameter(first.clone())
    ours = Muon([kernel], [], 0.02, momentum=0.9, weight_decay=0.1)
    theirs = torch.optim.Muon([matrix], lr=0.02, momentum=0.9, weight_decay=0.1, nesterov=True)
    for _ in range(5):
        gradient = torch.randn(24, 54, generator=draw)
        kernel.grad, matrix.grad = gradient.view(24, 6, 3, 3).clone(), gradient.clone()
        before = matrix.detach().clone()
        ours.step()
        theirs.step()
        # PyTorch computes in bf16, which knows three digits.
        step = (matrix - before).detach()
        apart = (kernel.detach().view(24, 54) - matrix.detach()).norm() / step.norm()
        assert apart < 0.1


def test_kernels_go_by_muon_and_the_rest_by_adamw() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    optimiser = make_optimiser(network, {"name": "muon", "learning_rate": 0.02})
    wide, rest = optimiser.param_groups
    assert [p.shape for p in wide["params"]] == [network[0].weight.shape]
    assert len(rest["params"]) == 5
    set_rate(optimiser, 0.01)
    assert (wide["lr"], rest["lr"]) == (0.01, 0.01 * REST)
    twin = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    twin.load_state_dict(network.state_dict())
    adam = torch.optim.AdamW(twin.parameters(), lr=0.01 * REST, weight_decay=0.0)
    for seed in range(3):
        for one, other in zip(network.parameters(), twin.parameters(), strict=True):
            one.grad = torch.randn(one.shape, generator=torch.Generator().manual_seed(seed))
            other.grad = one.grad.clone()
        optimiser.step()
        adam.step()
    torch.testing.assert_close(network[2].weight, twin[2].weight)
    torch.testing.assert_close(network[1].bias, twin[1].bias)


def test_an_optimiser_that_does_not_exist_is_named() -> None:
    with pytest.raises(InputError, match="no optimiser 'adam'"):
        make_optimiser(nn.Conv2d(1, 1, 3), {"name": "adam", "learning_rate": 1e-3})
