"""The organs of a study, and the values that they have in index images and label volumes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.core.study import Organ


#: Okabe & Ito, "Color Universal Design" (2008), in an order that stands out on grey images.
OKABE_ITO = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00")


def organ_values(organs: Mapping[str, Organ]) -> dict[str, tuple[int, ...]]:
    """Organ → the values that make it up in index images and label volumes; several organs may share one."""
    return {
        name: tuple(organ.values) or (organ.value or index,) for index, (name, organ) in enumerate(organs.items(), 1)
    }


def check_shared_values(organs: Mapping[str, Organ]) -> bool:
    """Whether organs share values, as regions that contain each other do.

    Raises:
        ValueError: A value is shared by accident: an organ that has it gives no list of ``values``, or two organs are
            one and the same.
    """
    shared = False
    for (one, mine), (other, theirs) in itertools.combinations(organ_values(organs).items(), 2):
        if not set(mine) & set(theirs):
            continue
        if not organs[one].values or not organs[other].values:
            raise ValueError(
                f"organs: two organs have the same value: {one} and {other}; where one contains the other, give both "
                "a list of values"
            )
        if set(mine) == set(theirs):
            raise ValueError(f"organs: {one} and {other} have the same values, and would be one organ")
        shared = True
    return shared


def painting_order(organs: Mapping[str, Organ], order: Sequence[str]) -> list[tuple[str, int]]:
    """Organs and the value that each is painted with, in the order in which they are painted into a label volume.

    An organ's value is the one of its own that no organ painted later has, so that what is seen of it says both that
    it is there and that the later ones are not.

    Args:
        organs: The study's organs.
        order: All of them, as ``export.source_order`` names them, each ``organ`` or ``organ=value``. May be empty
            where no organs share values.

    Raises:
        ValueError: An organ is absent or there twice, or its value is not one of its own or not told.
    """
    values = organ_values(organs)
    if not order and check_shared_values(organs):
        raise ValueError("export.source_order: name it for source_labels, since organs share values: the later wins")
    given = [item.partition("=") for item in order or organs]
    names = [name.strip() for name, _, _ in given]
    if sorted(names) != sorted(organs):
        raise ValueError(f"export.source_order: name each organ once ({', '.join(organs)}), not {', '.join(names)}")
    painted = []
    for place, (name, (_, _, text)) in enumerate(zip(names, given, strict=True)):
        later = {value for other in names[place + 1 :] for value in values[other]}
        left = [value for value in values[name] if value not in later]
        if text.strip():
            left = [value for value in left if text.strip() == str(value)]
        if len(left) != 1:
            shown = f"{' and '.join(map(str, left))} would both do" if left else "no value of its own is left"
            raise ValueError(f"export.source_order: {name} has {list(values[name])}, and {shown}; write {name}=VALUE")
        painted.append((name, left[0]))
    return painted
