"""The frame of a page, and its sections and tables. Callers escape what they show."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


BRAND = '<span class="brand">retuned</span>'


def page(title: str, body: str, *, version: str, refresh_s: int = 0) -> str:
    """A self-contained page.

    Args:
        title: plain text.
        body: HTML.
        version: retuned's own.
        refresh_s: seconds until a browser asks again; 0 for a page that stands by itself.
    """
    style = (files("retuned.sheet") / "sheet.css").read_text()
    refresh = f'<meta http-equiv="refresh" content="{refresh_s}">' if refresh_s else ""
    links = '<a class="brand" href="/">retuned</a><nav><a href="/docs">API</a></nav>'
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{refresh}<title>{escape(title)} · retuned</title><style>{style}</style></head><body>"
        f"<header>{links if refresh_s else BRAND}</header>"
        f"<main><h1>{escape(title)}</h1>{body}</main>"
        f"<footer>retuned {escape(version)} · times are UTC</footer></body></html>"
    )


def section(title: str, body: str) -> str:
    """A part of a page."""
    return f"<section><h2>{title}</h2>{body}</section>"


def nothing(text: str) -> str:
    """What is said where there is nothing to show."""
    return f'<p class="dim">{text}</p>'


def table(heads: Sequence[str], rows: Sequence[Iterable[str]], empty: str) -> str:
    """A table; ``empty`` is said where it has no rows."""
    if not rows:
        return nothing(empty)
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def moment(at: float) -> str:
    """A moment, seconds since the epoch, as people read it."""
    found = datetime.fromtimestamp(at, UTC)
    return f'<time datetime="{found.isoformat()}">{found:%Y-%m-%d %H:%M:%S}</time>'
