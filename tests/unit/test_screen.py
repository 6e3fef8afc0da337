"""What a pipe gets: wide lines without blanks at their ends, and no wrapping by a window."""

from __future__ import annotations

import pytest
from rich.table import Table
from rich.text import Text

from retuned.screen import screen, visible


def test_a_pipe_gets_wide_lines_without_trailing_blanks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table = Table("model", "why", box=None, pad_edge=False)
    table.add_row("bikes", "it removes much of the loss " * 4)
    table.add_row("other", "")
    screen(in_a_pipe=160).print(table)
    head, first, second = capsys.readouterr().out.splitlines()
    assert head == "model  why"
    assert first == ("bikes  " + "it removes much of the loss " * 4).rstrip()
    assert second == "other"


def test_what_is_told_between_tables_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    console = screen(in_a_pipe=160)
    console.print("a  b", highlight=False)
    console.print(Text("\n  indented \t \n\n"), end="")
    assert capsys.readouterr().out == "a  b\n\n  indented\n\n"


def test_a_terminal_is_as_wide_as_it_is_or_wider(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "70")
    assert screen(in_a_pipe=160).width == 70
    assert screen(in_a_pipe=160, at_least=100).width == 100
    assert capsys.readouterr().out == ""


def test_what_was_sent_does_not_steer_a_terminal() -> None:
    sent = "it sells \x1b[2Jless\r\nmodel  bikes\u202e\x00 caf\u00e9 \u2713"
    assert visible(sent) == "it sells \\x1b[2Jless\\r\\nmodel  bikes\\u202e\\x00 caf\u00e9 \u2713"
