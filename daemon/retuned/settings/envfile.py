"""Env files as both python-dotenv and systemd's EnvironmentFile read them."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from pydantic import BaseModel, ValidationError

_LINE = re.compile(r"(?P<key>[^=\s]+)=(?P<value>.*)")
_KEY = re.compile(r"[A-Z][A-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong in the configuration.

    Attributes:
        where: the file, or ``environment``.
        key: the key; "" where a line has none.
        problem: what is wrong, and what is allowed.
    """

    where: str
    key: str
    problem: str

    @property
    def text(self) -> str:
        """One line for people."""
        return ": ".join(part for part in (self.where, self.key, self.problem) if part)


def read_keys(path: Path) -> tuple[dict[str, str], list[Finding]]:
    """Read an env file's keys and values.

    What python-dotenv and systemd read differently is a finding: expansion of ``${X}``,
    comments behind a value, ``export``, spaces around ``=``, backslashes, and, for
    systemd 252, comments that go on in the next line.

    Where a file cannot be read there are no values, and one finding.

    Returns:
        Values by key, and what is wrong with the file.
    """
    where = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        return {}, [Finding(where, "", f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError as error:
        return {}, [Finding(where, "", f"is not UTF-8 text: {error.reason} at byte {error.start}")]
    values: dict[str, str] = {}
    findings = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        if line.lstrip().startswith("#"):
            if line.endswith("\\"):
                problem = f"line {number} is a comment that ends in a backslash: systemd takes "
                findings.append(Finding(where, "", problem + "the next line for a part of it"))
            continue
        found = _LINE.fullmatch(line)
        if found is None or not _KEY.fullmatch(found["key"]):
            # Not the line itself: it may hold a password.
            left = line.partition("=")[0].strip() if "=" in line else ""
            problem = f"(line {number}) is not KEY=value with an upper-case KEY and no spaces"
            findings.append(Finding(where, left, problem))
            continue
        key, value = found["key"], found["value"]
        problem = _problem(value)
        if key in values:
            problem = "is set twice in this file; keep one"
        if problem:
            findings.append(Finding(where, key, f"(line {number}) {problem}"))
        values[key] = _unquoted(value)
    return values, findings


def _problem(value: str) -> str:
    is_quoted = value[:1] in {"'", '"'}
    is_whole = len(value) > 1 and value[-1] == value[0] and value[0] not in value[1:-1]
    found = (
        ("${" in value, "has ${...}, which some readers of env files expand; write the value"),
        (value != value.strip(), "has spaces around its value; remove them"),
        ("\\" in value, "has a backslash, which readers understand differently; do without it"),
        (is_quoted and not is_whole, "has a quote that does not end at the end of the line"),
        (
            not is_quoted and " #" in value,
            "has a comment behind its value; give the comment a line of its own",
        ),
        (
            not is_quoted and ("'" in value or '"' in value),
            "has a quote within its value; put the whole value in quotes of the other kind",
        ),
    )
    return next((problem for is_so, problem in found if is_so), "")


def _unquoted(value: str) -> str:
    return value[1:-1] if value[:1] in {"'", '"'} else value


def unknown_keys(where: str, keys: Iterable[str], known: Collection[str]) -> list[Finding]:
    """Tell of keys that nobody reads, with the one that was probably meant."""
    findings = []
    for key in keys:
        if key in known:
            continue
        near = difflib.get_close_matches(key.upper(), known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
        findings.append(Finding(where, key, f"unknown key; {hint}"))
    return findings


def known_keys(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """All env keys of a settings class with their defaults, nested ones joined by ``__``."""
    keys: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        key = f"{prefix}{(info.alias or name).upper()}"
        nested = info.annotation
        if isinstance(nested, type) and hasattr(nested, "model_fields"):
            keys |= known_keys(nested, f"{key}__")
        else:
            keys[key] = info.get_default(call_default_factory=True, validated_data={})
    return keys


def invalid(where: str, error: ValidationError, prefix: str = "") -> list[Finding]:
    """Findings of a validation that failed."""
    findings = []
    for item in error.errors(include_url=False):
        if item["type"] == "extra_forbidden":
            # Told by `unknown_keys`, with the key that was probably meant.
            continue
        key = prefix + "__".join(str(part) for part in item["loc"]).upper()
        key = "" if key == prefix else key
        if item["type"] == "missing":
            problem = "is missing; it has no default"
        else:
            problem = item["msg"].removeprefix("Value error, ")
            if item["type"] != "value_error":
                problem = f"{item.get('input')!r:.60} is wrong: {problem[:1].lower()}{problem[1:]}"
        findings.append(Finding(where, key, problem))
    return findings
