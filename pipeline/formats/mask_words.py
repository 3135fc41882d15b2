"""What words in names of mask files say: a part of the body, a group of scans, or only that it is a mask."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection

from pipeline.formats.path_words import FOUND, GROUP, IMAGE, MASK, MOMENT, PERSON, VIEW


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Words that say that a file holds masks, or whose: they tell neither scan nor organ.
MASK_WORDS = MASK | FOUND | _set("ref reference references out true labelstr labelsts labelsva")
#: Words of what was recorded.
IMAGE_WORDS = IMAGE | _set("imagestr imagests ct mr mri t1 t2 t1w t2w t1ce t1c t1n t2f flair dwi adc pet cxr xray")
#: Words that name groups, times, sides and views of scans; organs are not called so alone.
GROUP_WORDS = GROUP | PERSON | MOMENT | VIEW | _set("case cases series abnormal male female")
#: Words of a part of an organ, which stand beside its name.
SIDE_WORDS = _set("left right l r lt rt upper lower middle anterior posterior inner outer")
#: Words before the number of an organ.
ORGAN_NUMBERS = _set("organ label structure roi segment tissue class")
#: Parts of the body as they are written in names of masks, by the beginnings of words.
_ANATOMY = _list(
    "heart lung liver spleen kidney pancrea stomach gallbladder bladder aorta vena cava artery vein vessel brain "
    "cerebell cerebr cortex cortical hippocamp amygdal thalam caudate putamen pallid ventric atri myocard prostat "
    "uterus ovar rectum colon bowel duoden esophag oesophag trachea thyroid adrenal femur femor tibia fibula patella "
    "humer radius ulna scapula clavic rib sternum vertebra spine spinal sacrum pelvi hip knee ankle wrist bone skull "
    "mandib maxilla tooth teeth dental eye lens retina optic cochlea parotid breast nodule tumor tumour lesion mass "
    "cyst effusion pneumo edema oedema necro enhanc polyp muscle cartilage menisc disc disk fat skin thorax chest "
    "abdomen airway bronch lobe iliac iliopsoas gluteus autochthon portal mediastin diaphragm nerve cord medulla "
    "carpal tarsal metacarp metatars phalan calcane talus"
)
_TOKEN = re.compile(r"\d+|[^\W\d_]+")


def tokens(name: str) -> list[str]:
    """Words and numbers of a name, in small letters."""
    return _TOKEN.findall(unicodedata.normalize("NFC", name).lower())


def is_anatomy(name: str) -> bool:
    """Whether a name has a word for a part of the body."""
    return any(
        token.startswith(word) or (len(word) > 4 and word in token) for token in tokens(name) for word in _ANATOMY
    )


def says_nothing(name: str) -> bool:
    """Whether a name only says that this is a mask."""
    found = tokens(name)
    return bool(found) and all(token in MASK_WORDS for token in found)


def organ_rank(names: Collection[str]) -> int:
    """How much the names of one part of paths look like organs rather than scans.

    Returns:
        2 where at least half are parts of the body, 1 for other words and numbered structures, 0 for words of groups,
        sides and series such as ``siteA`` and ``siteB``, -1 for numbered names.
    """
    words = [tokens(name) for name in names]
    numbered = [any(token.isdecimal() for token in found) for found in words]
    plain = [[t for t in found if not t.isdecimal() and t not in MASK_WORDS - ORGAN_NUMBERS] for found in words]
    if all(numbered):
        structures = all(len(found) == 1 and found[0] in ORGAN_NUMBERS for found in plain)
        return 1 if structures and len(names) > 1 else -1
    if _lettered(names) or (all(len(name) < 3 for name in names) and not {n.lower() for n in names} <= {"l", "r"}):
        return 0
    if 2 * sum(is_anatomy(name) for name in names) >= len(names):
        return 2
    if 2 * sum(numbered) >= len(names):
        return -1
    return 0 if all(not found or found[0] in GROUP_WORDS for found in plain) else 1


def _lettered(names: Collection[str]) -> bool:
    """Whether names differ by a letter or two at the end alone, as ``siteA`` and ``siteB`` do."""
    if len(names) < 2:
        return False
    first, last = min(names), max(names)
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    ends = {name[shared:].lower() for name in names}
    return shared >= 3 and all(len(end) <= 2 for end in ends) and not ends <= {"l", "r"}


def constant_words(names: Collection[str]) -> Counter[str]:
    """Words, not numbers, that all names have."""
    shared: Counter[str] | None = None
    for name in names:
        own = Counter(token for token in tokens(name) if not token.isdecimal())
        shared = own if shared is None else shared & own
    return shared or Counter()
