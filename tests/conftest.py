"""What all tests share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A thread of LightGBM that waits turns round in place, on the core that the other one needs. Read
# when the library is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

IS_CI = os.environ.get("CI") == "true"

# How long one example takes says more about the machine than about the code.
settings.register_profile("retuned", deadline=None, derandomize=IS_CI)
settings.load_profile("retuned")


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A temporary directory whose path leaves room for a unix socket's name (108 bytes)."""
    with tempfile.TemporaryDirectory(prefix="rt-") as name:
        yield Path(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI=true everything is installed, so a skipped test hides something."""
    del item, call
    report = yield
    if not hasattr(report, "wasxfail"):
        _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for modules that skip themselves."""
    del collector
    report = yield
    _forbid_skip(report)
    return report


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not IS_CI or not report.skipped:
        return
    why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"CI=true allows no skipped test: {why}"
