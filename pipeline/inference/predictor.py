"""One scan in, named organs out: prepares the scan for each network, slides, averages, decides and cleans up.

Everything that grows with the scan is made slab by slab; what does not fit into memory lies in an unnamed file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import ROOM, zeros
from pipeline.core.errors import InputError
from pipeline.core.labels import LabelMap
from pipeline.core.names import within
from pipeline.core.plan import Plan
from pipeline.core.scan import Array, Scan
from pipeline.imaging.preprocessing import Prepared, decide, prepared_shape
from pipeline.imaging.validity import fault_of
from pipeline.inference.agreement import Agreement, Passes, between_members, mean_dice
from pipeline.inference.backends import gpu_present, gpu_usable, installed, open_network
from pipeline.inference.champion import (
    MODEL,
    ONNX,
    QUALITY,
    WEIGHTS,
    BackendName,
    Champion,
    Precision,
    member_plan,
    read_champion,
)
from pipeline.inference.large import chunks, prepare_within, restore_rows
from pipeline.inference.postprocessing import OrganSteps, clean_labels
from pipeline.inference.slices import as_pictures, as_volume, sees_pictures
from pipeline.inference.sliding_window import Forward, slide

LARGE = 1 << 26  # bytes of a scan that nothing else should be in memory beside


@dataclass(frozen=True)
class Prediction:
    """What was found in a scan.

    Attributes:
        labels: The organs, on the scan's canonical grid.
        probabilities: ``(K, X, Y, Z)`` on the same grid, before thresholds and clean-up: background first where organs
            are exclusive. float32, possibly memory-mapped.
        certainty: Organ → the Dice that the probabilities themselves expect, ``2 Σ p m / (Σ p + Σ m)`` with the mask
            ``m``; 1 where neither holds anything.
        agreement: Between whom → organ → Dice: ``passes``, the windows and their mirror images, as the mean of the
            members; ``models`` and ``folds``, see :func:`~pipeline.inference.agreement.between_members`. Each is absent
            where there is but one.
    """

    labels: LabelMap
    probabilities: Array
    certainty: dict[str, float]
    agreement: Agreement


@dataclass
class Case:
    """One scan on its way to a prediction; it holds at each point only what the next step needs.

    Attributes:
        scan: The scan, on canonical axes.
        large: Whether nothing else should be in memory beside it: it is then prepared only when the networks are asked.
        prepared: Recipe of a plan → the scan on that plan's grid, normalised; until the networks are asked.
        probabilities: ``(K, …)`` float32: of one network on its plan's grid, of several their mean on the scan's; from
            then on, until the prediction is made.
        agreement: As in :class:`Prediction`.
        slices: What was found in each slice, where networks of pictures were asked about a volume.
    """

    scan: Scan
    large: bool = False
    prepared: dict[str, Prepared] | None = None
    probabilities: Array | None = None
    agreement: Agreement = field(default_factory=dict)
    slices: list[Prediction] | None = None


class Predictor:
    """Networks that predict together.

    Args:
        members: Plan and forward function of each network; their organs are the same.
        mirror: Average over mirrored windows, along each plan's mirror axes.
        steps: Clean-up of each organ.
        batch: Windows a call of a network.
        room: Bytes of probabilities that are held in memory.
    """

    def __init__(
        self,
        members: Sequence[tuple[Plan, Forward]],
        *,
        mirror: bool = False,
        steps: Mapping[str, OrganSteps] | None = None,
        batch: int = 4,
        room: int = ROOM,
    ) -> None:
        self.members = list(members)
        self.mirror = mirror
        self.steps = dict(steps or {})
        self.batch = batch
        self.room = room
        self.plan = self.members[0][0]

    def takes_slices(self, scan: Scan) -> bool:
        """Whether a scan is a volume and the networks know pictures alone: they are shown its slices one by one."""
        return not scan.is_flat and sees_pictures(self.plan)

    def is_large(self, scan: Scan) -> bool:
        """Whether a scan on canonical axes, or what the networks see and say of it, leaves no room for another.

        Raises:
            InputError: The scan would have too many voxels.
        """
        voxels = max(prod(scan.shape), *(prod(prepared_shape(scan.grid, plan)) for plan, _ in self.members))
        channels = scan.voxels.shape[0] + self.plan.out_channels
        return scan.voxels.nbytes > LARGE or 4 * channels * voxels > 4 * LARGE

    def predict(self, scan: Scan) -> Prediction:
        """Segment one scan.

        Raises:
            InputError: The scan is not of the kind that the networks were trained on.
        """
        case = self.open(scan)
        self.ask(case)
        return self.conclude(case)

    def open(self, scan: Scan) -> Case:
        """First of the three steps of :meth:`predict`, each of which may run in another thread: all but the networks.

        Raises:
            InputError: The scan is not of the kind that the networks were trained on, or its voxels are useless.
        """
        scan = scan.canonical()
        if (fault := fault_of(scan)) is not None:
            raise InputError(fault[1])
        case = Case(scan, self.is_large(scan))
        if not case.large and not self.takes_slices(scan):
            case.prepared = self.prepare(scan)
        return case

    def prepare(self, scan: Scan) -> dict[str, Prepared]:
        """Recipe of a plan → a scan on canonical axes as the networks with that plan want it."""
        plans = {plan.recipe_hash(): plan for plan, _ in self.members}
        return {recipe: prepare_within(scan, plan, self.room) for recipe, plan in plans.items()}

    def ask(self, case: Case) -> None:
        """Second step: run the networks, and average what they say.

        Raises:
            InputError: The scan is not of the kind that the networks were trained on.
        """
        scan = case.scan
        if self.takes_slices(scan):
            case.slices = [self._of_slice(picture) for picture in as_pictures(scan)]
            return
        # Taken out of the case, so that they end with this call.
        prepared, case.prepared = case.prepared or self.prepare(scan), None
        if len(self.members) == 1:
            plan, forward = self.members[0]
            case.probabilities, passes = self.run_network(forward, prepared[plan.recipe_hash()], plan)
            case.agreement = {"passes": passes} if passes else {}
            return
        total = zeros((self.plan.out_channels, *scan.shape), self.room)
        votes: list[tuple[str, LabelMap]] = []
        turned = []
        for plan, forward in self.members:
            own, passes = self.run_network(forward, prepared[plan.recipe_hash()], plan)
            turned += [passes] if passes else []
            kind = LabelMap.dtype_for(len(plan.organs), plan.overlapping)
            # All votes together take no more memory than one network's probabilities may.
            vote = zeros(scan.shape, self.room // len(self.members), kind)
            for rows in chunks(total):
                part = restore_rows(own, scan.shape, rows, self.room)
                total[:, rows] += part / np.float32(len(self.members))
                vote[rows] = decide(part, plan)
            votes.append((plan.model, self._labels(vote, scan)))
        case.probabilities = total
        # Mean, not least: out of fold, by which the figure is calibrated, a single network of each model is asked.
        case.agreement = {**({"passes": mean_dice(turned)} if turned else {}), **between_members(votes)}

    def conclude(self, case: Case) -> Prediction:
        """Third step: bring the probabilities to the scan's grid, decide and clean up.

        Raises:
            ValueError: The networks were not asked.
        """
        if case.slices is not None:
            return self._together(case.scan, case.slices)
        scan, answer = case.scan, case.probabilities
        if answer is None:
            raise ValueError("the networks were not asked")
        case.probabilities = None
        total = self._on_scan(answer, scan)
        del answer  # what lies on the plan's grid is not needed beside the copies that the clean-up makes
        thresholds = {o: s.threshold for o, s in self.steps.items() if s.threshold is not None}
        data = np.empty(scan.shape, LabelMap.dtype_for(len(self.plan.organs), self.plan.overlapping))
        for rows in chunks(total):
            data[rows] = decide(total[:, rows], self.plan, thresholds)
        raw = self._labels(data, scan)
        return Prediction(clean_labels(raw, self.steps, scan.unit), total, expected_dice(total, raw), case.agreement)

    def _of_slice(self, picture: Scan) -> Prediction:
        """What is found in one slice of a volume; nothing where it is of one value, as beyond the patient."""
        if np.ptp(picture.voxels) > 0:
            return self.predict(picture)
        chances = np.zeros((self.plan.out_channels, *picture.shape), np.float32)
        if not self.plan.overlapping:
            chances[0] = 1
        return Prediction(self._labels(decide(chances, self.plan), picture), chances, {}, {})

    def _together(self, scan: Scan, slices: Sequence[Prediction]) -> Prediction:
        """The slices of a volume in their places. How networks and passes agree on single slices says nothing of it."""
        data = as_volume((one.labels.data[None] for one in slices), scan, self.room)[0]
        total = as_volume((one.probabilities for one in slices), scan, self.room)
        labels = self._labels(data, scan)
        return Prediction(labels, total, expected_dice(total, labels), {})

    def _on_scan(self, answer: Array, scan: Scan) -> Array:
        shape = (self.plan.out_channels, *scan.shape)
        if answer.shape == shape:
            return answer
        total = zeros(shape, self.room)
        for rows in chunks(total):
            total[:, rows] = restore_rows(answer, scan.shape, rows, self.room)
        return total

    def _labels(self, data: NDArray[np.unsignedinteger], scan: Scan) -> LabelMap:
        organs = tuple(self.plan.organs)
        return LabelMap(data, scan.affine, organs, self.plan.overlapping, frozenset(organs))

    def run_network(self, forward: Forward, prepared: Prepared, plan: Plan) -> tuple[Array, dict[str, float]]:
        """Probabilities ``(K, X', Y', Z')`` of one network on its plan's grid, and the agreement of its passes."""
        passes = Passes(plan)
        image = prepared.image
        result = slide(forward, image, plan, mirror=self.mirror, batch=self.batch, passes=passes, room=self.room)
        return result, passes.dice()


def expected_dice(probabilities: Array, labels: LabelMap) -> dict[str, float]:
    """Organ → ``2 Σ p m / (Σ p + Σ m)`` of its probabilities and its mask; 1 where both are empty.

    Source: the soft Dice of Milletari et al., V-Net (2016), with the prediction's own mask in the reference's place.
    """
    first = 0 if labels.overlapping else 1
    sums = np.zeros((3, len(labels.organs)))
    for rows in chunks(probabilities):
        part = LabelMap(labels.data[rows], labels.affine, labels.organs, labels.overlapping, labels.annotated)
        for index, organ in enumerate(labels.organs):
            p, m = probabilities[first + index, rows], part.mask(organ)
            sums[:, index] += p.sum(dtype=np.float64), m.sum(), p[m].sum(dtype=np.float64)
    # A stray sum of tiny probabilities over an empty mask is no organ that was missed.
    return {
        organ: 1.0 if m == 0 and p < 1 else float(2 * both / (p + m))
        for organ, (p, m, both) in zip(labels.organs, sums.T, strict=True)
    }


def open_champion(
    folder: Path,
    *,
    threads: int | None = None,
    backend: BackendName | None = None,
    precision: Precision | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Predictor, Champion]:
    """Open a champion's folder for prediction, each network once.

    Args:
        folder: The folder that ``select`` wrote.
        threads: Processor threads; by default what the process may use.
        backend: In place of the one that was evaluated.
        precision: In place of the one that was evaluated.
        say: Told where something else runs the networks than what was evaluated.

    Raises:
        InputError: The folder is not a champion's.
    """
    champion = read_champion(folder)
    recorded = champion.backend
    if backend is None and recorded.gpu is not None and gpu_present():
        if gpu_usable():
            backend, precision = "torch", recorded.gpu
        else:
            say(f"there is a GPU that PyTorch cannot use; {recorded.name} predicts on the processor")
    name, bits = backend or recorded.name, precision or recorded.precision
    if backend is None and not installed(name):
        # Both read the same file, and were within the tolerance of PyTorch.
        say(f"the model was evaluated with {name}, which is not installed here; onnxruntime takes its place")
        name, bits = "onnxruntime", "fp32"
    if not champion.is_untouched():
        say("champion.yaml is not as `organseg select` wrote it: whoever changed it answers for what it says")
    champion.verify(folder, files_read(champion, folder, name))
    folders = [within(folder, member.folder) for member in champion.members]
    members = [(member_plan(path), open_network(path, name, bits, threads)) for path in folders]
    return Predictor(members, mirror=champion.mirror, steps=champion.postprocessing), champion


def files_read(champion: Champion, folder: Path, backend: BackendName) -> list[str]:
    """The files of a champion's folder that predicting with it depends on, relative to the folder."""
    network = WEIGHTS if backend == "torch" else ONNX
    files = [f"{member.folder}/{file}" for member in champion.members for file in (MODEL, network)]
    return files + [QUALITY] * (QUALITY in champion.files or (folder / QUALITY).is_file())


def open_folds(folders: Sequence[Path], *, threads: int | None = None) -> Predictor:
    """Open trained networks as ``train`` left them, with PyTorch: the GPU where there is one, in bf16 there.

    Raises:
        InputError: A folder is not a trained model's.
    """
    import torch

    from pipeline.inference.model_files import load_model
    from pipeline.inference.sliding_window import torch_forward

    gpu = torch.cuda.is_available()
    if threads is not None and not gpu:
        torch.set_num_threads(threads)
    members = []
    for folder in folders:
        network, plan, _ = load_model(folder, "cuda" if gpu else "cpu")
        forward = torch_forward(network.eval(), plan.overlapping, "cuda" if gpu else "cpu", "bf16" if gpu else "fp32")
        members.append((plan, forward))
    return Predictor(members, mirror=bool(members[0][0].mirror_axes))
