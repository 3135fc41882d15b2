"""Errors that a user can act on, and the exit codes that go with them."""

from __future__ import annotations

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_BAD_INPUT = 2
EXIT_SOME_FAILED = 3
#: What sysexits.h calls EX_TEMPFAIL.
EXIT_TRY_AGAIN = 75


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
        return f"{head}. {self.remedy}" if self.remedy else head

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


def _rebuild(kind: type[UserError], what: str, where: str | None, remedy: str | None) -> UserError:
    return kind(what, where=where, remedy=remedy)
