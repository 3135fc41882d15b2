"""Start from an earlier model's weights, with other organs and other channels too."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from pipeline.core.errors import InputError
from pipeline.core.plan import Plan
from pipeline.core.say import Say, quiet
from pipeline.inference.champion import FILE, member_plan, read_champion
from pipeline.inference.model_files import FACTS, WEIGHTS, build_for, load_model


def earlier_model(folder: Path, plan: Plan) -> Path:
    """The folder of weights to start from: ``folder`` itself, or of a champion the first member of the plan's kind.

    Raises:
        InputError: There is neither a model nor a champion.
    """
    if (folder / FILE).is_file():
        champion = read_champion(folder)
        members = [member.folder for member in champion.members]
        alike = [place for place in members if member_plan(folder / place).network["name"] == plan.network["name"]]
        place = (alike or members)[0]
        champion.verify(folder, [f"{place}/{FACTS}", f"{place}/{WEIGHTS}"])
        folder = folder / place
    if not (folder / WEIGHTS).is_file():
        raise InputError(
            "is not a trained model",
            where=str(folder),
            remedy=f"Name a champion, or a folder with {WEIGHTS} and {FACTS}.",
        )
    return folder


def start_from(network: nn.Module, plan: Plan, folder: Path, say: Say = quiet) -> int:
    """Copy the weights of an earlier model as far as they fit.

    Tensors are matched by name. In the heads, which have one row an output channel, rows are matched by organ, so that
    organs which both models know keep theirs. What does not fit keeps its drawn weights.

    Args:
        network: The new network; its weights are changed.
        plan: Its plan.
        folder: The earlier model.
        say: Takes a line about what was taken over.

    Returns:
        How many tensors were taken over, wholly or in part.

    Raises:
        InputError: The earlier model cannot be read, or nothing of it fits.
    """
    earlier, before, _ = load_model(folder)
    theirs = earlier.state_dict()
    rows, heads = _matching_rows(before, plan), _heads(plan)
    taken = 0
    own = network.state_dict()
    for name, value in own.items():
        other = theirs.get(name)
        if other is None:
            continue
        if name in heads and other.shape[1:] == value.shape[1:]:
            for old, new in rows:
                value[new] = other[old]
            taken += bool(rows)
        elif other.shape == value.shape:
            value.copy_(other)
            taken += 1
    if taken == 0:
        raise InputError(
            f"nothing of the weights fits {plan.network['name']}", where="init_from", remedy="Take a model of its kind."
        )
    network.load_state_dict(own)
    say(f"start from an earlier model: {taken} of {len(own)} tensors taken over")
    return taken


def _matching_rows(before: Plan, plan: Plan) -> list[tuple[int, int]]:
    """Output channels of both models that mean the same."""
    old = ([] if before.overlapping else ["(background)"]) + before.organs
    new = ([] if plan.overlapping else ["(background)"]) + plan.organs
    return [(old.index(organ), index) for index, organ in enumerate(new) if organ in old]


def _heads(plan: Plan) -> set[str]:
    """Names of the tensors with one row an output channel: those that have one more in a network of one more organ."""
    more = plan.model_copy(update={"organs": [*plan.organs, "one more"]})
    own, other = (build_for(one, pretrained=False).state_dict() for one in (plan, more))
    return {name for name, value in own.items() if value.shape != other[name].shape}
