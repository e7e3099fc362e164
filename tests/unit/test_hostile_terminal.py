"""What a container answers and names: no probe dies of it, no terminal obeys it."""

from __future__ import annotations

import pytest

from minify.cli import console
from minify.errors import EngineError
from minify.terminal import plain
from probes import drive_http

CONTROLS = ["\x1b]0;x\x07", "\x1b[2J", "a\rb", "\x9b31m", "\u202eabc", "\x08\x08", "\u2028", "\x00"]


@pytest.mark.parametrize("text", CONTROLS)
def test_control_characters_are_shown_and_not_obeyed(text: str) -> None:
    shown = plain(f"a\t{text}\nb")
    assert shown.isprintable() is False  # the tab and the line feed
    assert shown.replace("\t", "").replace("\n", "").isprintable()
    assert plain(shown) == shown


def test_halves_of_pairs_and_bytes_that_are_no_text() -> None:
    assert plain("\udcff \ud800 é") == "\\xff \\ud800 é"


@pytest.mark.parametrize("text", CONTROLS)
def test_messages_go_through_it(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    console.say(f"log: {text}")
    console.show_error(EngineError(f"no {text}", hint=f"try {text}"))
    console.show_defect(ValueError(text))
    console.show(f"/{text}")
    out, err = capsys.readouterr()
    assert (out + err).replace("\n", "").isprintable()


def test_rich_takes_no_markup_from_them() -> None:
    from rich.console import Console

    marked = console._marked("[red]x[/red] [/] [link=http://x]y[/link]")
    shown = Console(width=200, color_system=None).render_str(marked).plain
    assert shown == "[red]x[/red] [/] [link=http://x]y[/link]"


@pytest.mark.parametrize(
    "text",
    ["a=b; max-age=²", "a=b; max-age=" + "9" * 5000, "a=b; expires=Mon, 99 Foo 99999 99:99:99",
     "a=b; expires=(((",
     "a=b; expires=" + "9" * 400, "a=b; expires=1 Jan 99999999999 00:00:00 GMT", "=",
     ";;;", "a=b; path=", "a=b; expires=Thu, 01 Jan 1970 00:00:00 +99999999999"],
)  # fmt: skip
def test_cookies_that_no_browser_would_take(text: str) -> None:
    session = drive_http.Session()
    session.learn({"headers": [("set-cookie", text)]}, "/")
    assert isinstance(session.cookie_header("/"), str)


def test_cookies_end_as_before() -> None:
    assert drive_http.ended({"max-age": "0"})
    assert drive_http.ended({"max-age": "-5"})
    assert not drive_http.ended({"max-age": "60"})
    assert drive_http.ended({"expires": "Thu, 01 Jan 1970 00:00:00 GMT"})


@pytest.mark.parametrize("target", ["http://[", "http://[::1", "//[x]/", "http://self:99999999/"])
def test_redirects_to_nowhere(target: str) -> None:
    assert drive_http.redirect({"host": "h", "port": 80}, target) == ""


def test_whatever_an_answer_is_it_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise UnicodeError("odd")

    monkeypatch.setattr(drive_http, "exchange", broken)
    answer = drive_http.drive_one({"id": "x", "port": 80, "host": "h"})
    assert (answer["ok"], answer["error"]) == (False, "an answer that cannot be read: UnicodeError")
