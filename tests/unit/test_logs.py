"""Logs for machines and for people."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest

from retuned.runtime.logs import JsonLines, ReadableLines


def record(
    message: str, *, error: BaseException | None = None, **extra: object
) -> logging.LogRecord:
    logger = logging.getLogger("retuned.test")
    info = None if error is None else (type(error), error, error.__traceback__)
    return logger.makeRecord(
        logger.name, logging.WARNING, __file__, 1, message, ("a",), info, extra=extra
    )


def test_a_line_for_machines_is_one_json_object() -> None:
    line = JsonLines().format(record("%s failed\nbadly: ü", action="order_failed", model="bikes"))
    assert "\n" not in line
    found = json.loads(line)
    assert found.pop("ts").endswith("+00:00")
    assert found == {
        "level": "warning",
        "logger": "retuned.test",
        "message": "a failed\nbadly: ü",
        "action": "order_failed",
        "model": "bikes",
    }


def test_an_exception_stays_within_its_line() -> None:
    line = JsonLines().format(record("%s", error=ValueError("why")))
    assert "\n" not in line
    assert "ValueError: why" in json.loads(line)["exception"]


def test_a_line_for_people_names_the_model() -> None:
    line = ReadableLines().format(record("%s failed", model="bikes"))
    assert line.endswith("warning [bikes] a failed")
    assert "ValueError: why" in ReadableLines().format(record("%s", error=ValueError("why")))


SCRIPT = """
import logging, sys, warnings
from retuned.runtime.logs import set_up
set_up(sys.argv[1], sys.argv[2])
logging.getLogger("retuned").info("hello", extra={"action": "said"})
logging.getLogger("apscheduler.x").info("chatter")
warnings.warn("careful")
"""


@pytest.mark.parametrize(
    ("level", "form", "journal", "is_json"),
    [
        ("info", "auto", False, False),
        ("info", "auto", True, True),
        ("info", "json", False, True),
        ("info", "text", True, False),
        ("warning", "text", False, False),
    ],
)
def test_logs_go_to_standard_error_in_the_form_asked_for(
    *, level: str, form: str, journal: bool, is_json: bool
) -> None:
    kept = {key: value for key, value in os.environ.items() if key != "JOURNAL_STREAM"}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, level, form],
        env=kept | ({"JOURNAL_STREAM": "8:1"} if journal else {}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == ""
    assert "chatter" not in ended.stderr
    assert ("hello" in ended.stderr) is (level == "info")
    assert "careful" in ended.stderr
    assert ended.stderr.startswith("{") is is_json
