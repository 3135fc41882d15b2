"""Files of patients are their owner's alone, whatever the umask, or a group's where the study's config names one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.say import Say, quiet

ALONE, WITH_GROUP = 0o077, 0o027


def keep_to_owner() -> None:
    """Let nobody else read what this process writes from now on, nor what the processes that it starts write."""
    os.umask(ALONE)


def protect(folder: Path, group: str | None = None, say: Say = quiet) -> None:
    """Make a folder of results, or close one that is there to all but its owner and, where there is one, the group.

    What is written into it later belongs to the group too. A folder that another user owns is left as that user made
    it.

    Args:
        folder: ``results``, or a study's folder in it.
        group: Name of a group, from the study's config.
        say: Told where others could read what was there before, and can no more.

    Raises:
        InputError: There is no such group, or this user is not in it.
    """
    before = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    about = folder.stat()
    if not hasattr(os, "getuid") or about.st_uid != os.getuid():
        return
    if group is None:
        if stat.S_IMODE(about.st_mode) & ALONE and not about.st_mode & stat.S_ISGID:
            folder.chmod(0o700)
            if before:
                say(f"{folder} is now readable by you alone; `group: NAME` in the study's config lets a group read it")
        return
    os.umask(WITH_GROUP)
    number = _number(group)
    if about.st_gid != number:
        try:
            os.chown(folder, -1, number)
        except PermissionError:
            raise InputError(
                f"you are not in the group {group!r}", where="group", remedy="Ask for it, or name another."
            ) from None
    if stat.S_IMODE(about.st_mode) != 0o2750:
        folder.chmod(0o2750)


def _number(group: str) -> int:
    try:
        import grp

        return grp.getgrnam(group).gr_gid
    except ImportError:
        raise InputError("this system has no groups of files", where="group", remedy="Leave it out.") from None
    except KeyError:
        raise InputError(
            f"there is no group {group!r} here", where="group", remedy="`getent group` lists them."
        ) from None
