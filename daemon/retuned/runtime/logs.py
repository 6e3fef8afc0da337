"""Logs: one JSON object a line under systemd, readable lines in a terminal.

Each line has a machine-readable ``action``; the model's name is there where it concerns one.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Literal

Format = Literal["auto", "json", "text"]

_EXTRAS = ("action", "model", "order", "event_kind", "retry_s")


class JsonLines(logging.Formatter):
    """One JSON object a line, with ``ts`` in ISO 8601 UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """Render the record."""
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: vars(record)[name] for name in _EXTRAS if name in vars(record)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class ReadableLines(logging.Formatter):
    """``12:34:56 warning [elec2] text`` for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Render the record."""
        moment = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        model = vars(record).get("model")
        about = f" [{model}]" if model else ""
        line = f"{moment} {record.levelname.lower():<7}{about} {record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def set_up(level: str, form: Format) -> None:
    """Send everything from ``level`` up to standard error; ``auto`` is JSON under systemd."""
    is_json = form == "json" or (form == "auto" and "JOURNAL_STREAM" in os.environ)
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(JsonLines() if is_json else ReadableLines())
    logging.basicConfig(level=level.upper(), handlers=[stream], force=True)
    for chatty in ("apscheduler", "uvicorn", "httpx", "optuna"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
