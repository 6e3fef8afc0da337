"""The dashboard in a real browser."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.acceptance.daemon import RealDaemon

from retuned.demo.history import Batch

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def seen(url: str, profile: Path) -> str:
    """What a page holds once a browser has rendered it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    command = [chromium, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", url]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=90).stdout


def test_a_browser_shows_the_models_and_what_was_done_for_each(
    daemon: RealDaemon, history: Batch, tmp_path: Path
) -> None:
    daemon.start()
    daemon.feed(history)
    daemon.wait_until(daemon.has_champion, 60)
    daemon.wait_until(lambda: len(daemon.trials("bikes").get("s1", ())) >= 3, 60)
    overview = seen(f"{daemon.url}/", tmp_path / "one")
    assert 'href="/models/bikes"' in overview
    page = seen(f"{daemon.url}/models/bikes", tmp_path / "two")
    assert "lightgbm, 31 leaves" in page
    assert "<circle" in page
    assert "promoted" in page
    api = seen(f"{daemon.url}/docs", tmp_path / "three")
    assert "/v1/models/{model}/predict" in api
