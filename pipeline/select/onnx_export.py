"""A trained network as an ONNX file, checked against PyTorch on real windows."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from pipeline.core.files import whole_file
from pipeline.core.plan import Plan
from pipeline.inference.backends import INPUT, OUTPUT

MOST_WINDOWS = 4096  # upper bound of the dynamic batch axis; the exporter wants one


class WithProbabilities(nn.Module):
    """A network and what turns its logits into probabilities: sigmoid for overlapping organs, else softmax."""

    def __init__(self, network: nn.Module, overlapping: bool) -> None:
        super().__init__()
        self.network = network
        self.overlapping = overlapping

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, *patch)`` → ``(B, K, *patch)`` probabilities."""
        logits = self.network(image)
        return torch.sigmoid(logits) if self.overlapping else torch.softmax(logits, 1)


def write_onnx(path: Path, network: nn.Module, plan: Plan) -> None:
    """Write a network with its probabilities; windows have the plan's patch, batches any size.

    Args:
        path: The file.
        network: The network on the CPU, in evaluation mode.
        plan: Its plan.
    """
    model = WithProbabilities(network, plan.overlapping).eval()
    sample = torch.zeros((2, plan.in_channels, *plan.patch))
    batch = torch.export.Dim("batch", min=1, max=MOST_WINDOWS)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            model,
            (sample,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamo=True,
            dynamic_shapes=({0: batch},),
            verbose=False,
        )
    assert program is not None
    content = program.model_proto
    # The exporter notes source lines and stack traces, which name the places of this machine.
    content.producer_version = ""
    inner = [node for function in content.functions for node in function.node]
    for part in (content, content.graph, *content.graph.node, *content.graph.value_info, *content.functions, *inner):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    with whole_file(path) as part_file:
        onnx.save(content, str(part_file))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about its own insides off the terminal."""
    levels = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript", "onnx_ir")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in levels:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
