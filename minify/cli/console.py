"""How things look: progress and messages on standard error, tables on standard output.

On a terminal progress is drawn with rich; elsewhere each step is one plain line, without colour.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from minify.errors import MinifyError
from minify.steps import Event, listening
from minify.terminal import plain

if TYPE_CHECKING:
    from rich.status import Status


def say(text: str) -> None:
    """Write a line to standard error."""
    click.echo(plain(text), err=True)


def show(text: str) -> None:
    """Write a result to standard output."""
    click.echo(plain(text))


def show_error(error: MinifyError) -> None:
    """Write an error: what failed, then what to try."""
    click.echo(click.style("error: ", fg="red", bold=True) + plain(error.message), err=True)
    if error.hint:
        click.echo(click.style("hint: ", fg="yellow") + plain(error.hint), err=True)


def show_defect(error: Exception) -> None:
    """Write an error nobody foresaw: where it happened, in full, since it is ours to mend."""
    click.echo(plain("".join(traceback.format_exception(error))), err=True, nl=False)
    click.echo(click.style("defect: ", fg="red", bold=True) + plain(f"{error!r}"), err=True)
    click.echo("hint: this is a fault of minify; please report it with the lines above", err=True)


@contextlib.contextmanager
def progress(quiet: bool = False) -> Iterator[None]:
    """Show the steps of the enclosed work."""
    if quiet:
        with listening(_warnings_only):
            yield
    elif sys.stderr.isatty():
        with _Drawn() as drawn, listening(drawn.on_event):
            yield
    else:
        with listening(_plain):
            yield


def _warnings_only(event: Event) -> None:
    if event.kind == "warn":
        say(f"warning: {event.details['text']}")


def _plain(event: Event) -> None:
    if event.kind == "end":
        say(f"{event.step}: {event.seconds:.1f} s")
    elif event.kind == "note":
        say(f"{event.step}: {event.details['text']}")
    else:
        _warnings_only(event)


def _marked(text: str) -> str:
    """Text that is no markup of rich's either."""
    return plain(text).replace("[", "\\[")


class _Drawn:
    """A spinner with the steps under way, and a line for each that ended."""

    def __init__(self) -> None:
        from rich.console import Console  # here: rich is slow to import where it is not needed

        self._console = Console(stderr=True)
        self._active: list[str] = []
        self._counts: dict[str, str] = {}
        self._status: Status | None = None

    def __enter__(self) -> _Drawn:
        self._status = self._console.status("Starting").__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        assert self._status is not None
        self._status.__exit__(*exc)

    def on_event(self, event: Event) -> None:
        if event.kind == "begin":
            self._active.append(event.step)
        elif event.kind in ("end", "fail"):
            self._active.remove(event.step)
        if event.kind == "count":
            self._counts[event.step] = f"{event.details['number']:,} {event.details['what']}"
        elif event.kind == "end":
            count = self._counts.pop(event.step, "")
            self._console.print(
                f"[green]✓[/] {_marked(event.step)} [dim]{event.seconds:.1f} s {count}[/]",
                highlight=False,
            )
        elif event.kind == "warn":
            text = _marked(event.details["text"])
            self._console.print(f"[yellow]![/] {text}", highlight=False)
        elif event.kind == "note":
            self._console.print(f"  {plain(event.details['text'])}", markup=False, highlight=False)
        if self._status is not None:
            self._status.update(", ".join(self._active) or "Working")
