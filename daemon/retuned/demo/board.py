"""What the demo shows while it runs: one line a period in a live panel, or plain lines."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from retuned.words.events import tell

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.console import Console

_SHOWN = 8

_STYLES = {
    "drift": "yellow",
    "decided": "cyan",
    "study": "blue",
    "verdict": "magenta",
    "promoted": "bold green",
    "revised": "green",
    "rolled_back": "bold yellow",
    "confirmed": "green",
    "failed": "bold red",
    "abandoned": "bold red",
}


class Board:
    """Live progress. In a pipe, events are printed as they come instead."""

    def __init__(self, console: Console, rows: int) -> None:
        """Prepare for that many rows."""
        self._console = console
        self._progress = Progress(
            TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        )
        self._bar = self._progress.add_task("rows", total=rows)
        self._seen: set[str] = set()
        self._lines: list[Text] = []
        self._counts: Counter[str] = Counter()
        self._facts: dict[str, str] = {}
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._render)

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last picture on the screen."""
        if self._console.is_terminal:
            self._live.stop()

    @property
    def counts(self) -> Counter[str]:
        """How many events of each kind were seen; ``drift`` counts checks that found some."""
        return self._counts

    def sent(self, rows: int) -> None:
        """Advance the bar."""
        self._progress.advance(self._bar, rows)

    def show(self, name: str, text: str) -> None:
        """Set one of the named figures."""
        self._facts[name] = text

    def take(self, events: list[dict[str, Any]]) -> None:
        """Take in events; those seen before are passed over."""
        for event in events:
            if event["id"] in self._seen:
                continue
            self._seen.add(event["id"])
            line = _line(event)
            if line is None:
                continue
            self._counts[event["kind"]] += 1
            self._lines.append(line)
            if not self._console.is_terminal:
                self._console.print(line)

    def _render(self) -> Panel:
        facts = Table.grid(padding=(0, 2))
        for name, text in self._facts.items():
            facts.add_row(Text(name, style="dim"), text)
        lines = Group(*self._lines[-_SHOWN:])
        return Panel(Group(self._progress, facts, Text(), lines), title="retuned demo")


def _line(event: dict[str, Any]) -> Text | None:
    """Say an event in a line; None for what is too frequent to show."""
    kind = event["kind"]
    if kind not in _STYLES or (kind == "drift" and not event["body"]["alarms"]):
        return None
    is_quiet = kind == "decided" and event["body"]["decision"] == "nothing"
    return Text(f"{kind:<11} {tell(event)}", style="dim" if is_quiet else _STYLES[kind])
