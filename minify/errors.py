"""The errors a user can meet, by what the user can do next.

::

    MinifyError            1   anything else
    ├── UsageError         2   the request is malformed: fix the command or the file
    │                      3   (a failed verdict is a result, not an error: exit code 3)
    ├── Unsupported        4   this machine lacks a privilege, a kernel feature or a program
    ├── EngineError        5   the container engine, the registry or the image is the problem
    ├── TraceError         6   the container could not be observed (never ready, crashed)
    │                      7   (incomplete evidence: events were lost, exit code 7)
    ├── BuildError         8   the output could not be written
    └── GateError          9   a gate the user set is not met
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit status of the command line, one meaning each; documented in the README."""

    OK = 0
    FAILED = 1
    USAGE = 2
    VERDICT = 3
    UNSUPPORTED = 4
    ENGINE = 5
    TRACE = 6
    INCOMPLETE = 7
    BUILD = 8
    GATE = 9
    INTERRUPTED = 130


class MinifyError(Exception):
    """Something went wrong: `message` says what and on what, `hint` what to try."""

    exit_code: Exit = Exit.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MinifyError):
    """The request itself is malformed."""

    exit_code = Exit.USAGE


class Unsupported(MinifyError):  # noqa: N818 - reads as the finding it is
    """This machine cannot do it: a privilege, a kernel feature or a program is missing."""

    exit_code = Exit.UNSUPPORTED


class EngineError(MinifyError):
    """The container engine, the registry or the input image is the problem."""

    exit_code = Exit.ENGINE


class WrongEngineError(EngineError):
    """What was said on which engine to take is wrong: no other is taken in its place."""


class TraceError(MinifyError):
    """The container could not be observed: it crashed or never became ready."""

    exit_code = Exit.TRACE


class BuildError(MinifyError):
    """The output image could not be written."""

    exit_code = Exit.BUILD


class GateError(MinifyError):
    """A gate the user set (size, contents) is not met."""

    exit_code = Exit.GATE


class EnterNamespaceError(Exception):
    """Not for users: the embedded engine needs minify to be root of a user namespace."""
