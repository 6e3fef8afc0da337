"""Where tables go: a terminal, or a pipe or file that a program or a log reads."""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import TYPE_CHECKING, cast

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

_STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Control characters, those that turn the direction of writing, and ends of lines."""

_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)


def screen(*, in_a_pipe: int, at_least: int = 0) -> Console:
    """A console on standard output, without blanks at the ends of lines in a pipe.

    Args:
        in_a_pipe: columns where there is no terminal that would tell.
        at_least: columns of a terminal, even where its window is narrower.
    """
    console = Console()
    if console.is_terminal:
        console.width = max(console.width, at_least)
        return console
    return Console(file=cast("TextIO", _Trimmed(sys.stdout)), width=in_a_pipe)


def visible(text: str) -> str:
    r"""Text from elsewhere without what would steer a terminal; ``\x1b`` stands for the character.

    Reasons, names and ids are whatever somebody sent: a line of it must not look like one of ours.
    """
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _STEERING else char
        for char in text
    )


def put_table(console: Console, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Put a table on a console; without a heading line where no head says anything."""
    table = Table(box=None, show_header=any(heads), pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    count = 0
    for row in rows:
        table.add_row(*map(visible, row))
        count += 1
    console.print(table if count else "Nothing yet.", highlight=False, markup=False)


class _Trimmed:
    """Standard output for whole lines, which lose what cannot be seen."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    @property
    def encoding(self) -> str:
        return self._file.encoding

    def write(self, text: str) -> int:
        return self._file.write(_TRAILING.sub("", text))

    def flush(self) -> None:
        self._file.flush()
