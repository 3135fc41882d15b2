"""Errors that a user can act on, and the exit codes that go with them."""

from __future__ import annotations

import errno
import sqlite3
import struct

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_BAD_INPUT = 2
EXIT_SOME_FAILED = 3
#: What sysexits.h calls EX_TEMPFAIL.
EXIT_TRY_AGAIN = 75

#: What Pillow raises for a picture that is damaged or cut short; it has no error of its own for that.
DAMAGED_PICTURE = (
    *(OSError, EOFError, SyntaxError, ValueError, LookupError),
    *(ArithmeticError, TypeError, AttributeError, struct.error),
)


class UserError(Exception):
    """Something that the user can act on. The command line prints it without a traceback.

    Args:
        what: What is wrong, in one sentence without a final full stop.
        where: File, row or key that it is wrong in. It may name a source path, so it is printed to the user and never
            written under ``results/``.
        remedy: How to mend it.

    Attributes:
        exit_code: What the command line ends with.
    """

    exit_code = EXIT_BAD_INPUT

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(what)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        end = "" if head.endswith(("?", ".", "…")) else "."
        return f"{head}{end} {self.remedy}" if self.remedy else head

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments do not survive a process boundary by themselves.
        return (_rebuild, (type(self), self.what, self.where, self.remedy))


class InputError(UserError):
    """Something the user gave is wrong, and can be mended by the user: exit code 2.

    A stage that works on many scans catches it for one scan, lists that scan with its reason, and goes on.
    """


class TryAgainError(UserError):
    """Something that may pass was in the way: the same command may do another time. Exit code 75.

    It is the machine's or another process's fault, so no stage takes it for a fault of the scan at hand.
    """

    exit_code = EXIT_TRY_AGAIN


#: Errors of the system that pass: a full disk or quota, a share that answers no more, a device that failed once.
_PASSING = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ETXTBSY, errno.ESTALE),
    *(errno.ETIMEDOUT, errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EHOSTUNREACH, errno.ENETUNREACH),
    *(errno.ENFILE, errno.EMFILE, errno.ENOMEM, errno.ENOLCK, errno.ENODEV, errno.ENXIO),
}
#: Errors of a path that was given: nothing there, no permission, a folder for a file, a name too long.
_GIVEN = {
    *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EFBIG, errno.EXDEV, errno.EINVAL, errno.EILSEQ),
}


def for_the_user(error: BaseException) -> UserError | None:
    """What the system refused, as something to act on; ``None`` where the error says nothing of that kind.

    Args:
        error: Any error, or the error that another one was raised from.

    Returns:
        ``TryAgainError`` for what may pass, such as a full disk; ``InputError`` for a path that cannot be used.
    """
    cause: BaseException | None = error
    while cause is not None:
        error = cause
        if isinstance(error, UserError):
            return error
        if isinstance(error, RecursionError):
            return InputError("something that was read is nested too deeply")
        if isinstance(error, sqlite3.OperationalError):
            said = str(error)
            if any(word in said for word in ("locked", "busy", "full", "disk I/O")):
                return TryAgainError(f"the database did not answer ({said})", remedy="Run the same command again.")
        if isinstance(error, OSError) and error.errno in _PASSING | _GIVEN and not isinstance(error, BrokenPipeError):
            where = None if error.filename is None else str(error.filename)
            said = error.strerror or type(error).__name__
            if error.errno in _PASSING:
                remedy = "Free some space, then run the same command again."
                if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                    remedy = "Run the same command again."
                return TryAgainError(f"the system could not do it ({said})", where=where, remedy=remedy)
            if where is not None:
                return InputError(f"cannot be used ({said})", where=where, remedy="Give another, or mend this one.")
        cause = error.__cause__
    return None


def raise_passing(error: BaseException) -> None:
    """Raise what may pass, which is no fault of the scan at hand.

    Raises:
        TryAgainError: The error is the machine's: a full disk, a share that does not answer.
    """
    found = for_the_user(error)
    if isinstance(found, TryAgainError):
        raise found from None


def _rebuild(kind: type[UserError], what: str, where: str | None, remedy: str | None) -> UserError:
    return kind(what, where=where, remedy=remedy)
