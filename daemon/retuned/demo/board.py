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

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

_SHOWN = 8


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

    def __enter__(self) -> Board:
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
    kind, body = event["kind"], event["body"]
    match kind:
        case "drift":
            alarms = body["alarms"]
            if not alarms:
                return None
            found = ", ".join(f"{a['subject']} ({a['effect']:.2f})" for a in alarms[:4])
            more = f" and {len(alarms) - 4} more" if len(alarms) > 4 else ""  # noqa: PLR2004
            return Text(f"drift     {found}{more}", style="yellow")
        case "decided":
            text = f"decided   {body['decision']}: {' '.join(body['reasons'])}"
            return Text(text, style="dim" if body["decision"] == "nothing" else "cyan")
        case "study":
            text = f"study     {body['id']}: {body['trials']} trials, {body['stopped']}"
            return Text(text, style="blue")
        case "verdict":
            verdict = body["verdict"]
            text = f"verdict   {verdict['ruling']}: {' '.join(verdict['reasons'])}"
            return Text(text, style="magenta")
        case "promoted":
            family = body["recipes"][0]["family"]
            return Text(f"promoted  version {body['version']} ({family})", style="bold green")
        case "revised":
            name = f"{body['version']}.{body['revision']}"
            return Text(f"revised   {name}, refitted on {body['rows']} rows", style="green")
        case "failed":
            return Text(f"failed    {body['kind']}: {body['error']}", style="bold red")
    return None
