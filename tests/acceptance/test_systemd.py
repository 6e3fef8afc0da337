"""What systemd itself says of the unit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.acceptance

UNIT = Path(__file__).parents[2] / "systemd" / "retuned.service"


def analyze(*arguments: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", *arguments, str(UNIT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_verification_has_nothing_to_say() -> None:
    assert analyze("verify") == ""


def test_little_is_exposed() -> None:
    told = analyze("security", "--offline=true", "--threshold=15", "--no-pager")
    assert "Overall exposure level" in told
