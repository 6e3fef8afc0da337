"""Fixtures of the acceptance tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.daemon import MODEL, RealDaemon

from retuned.demo.history import Batch, read_history


@pytest.fixture
def daemon() -> Iterator[RealDaemon]:
    # Sockets' paths are short: pytest's own temporary directories are too long for them.
    with tempfile.TemporaryDirectory(prefix="retuned-") as directory:
        real = RealDaemon(Path(directory))
        real.write_model("bikes", MODEL)
        yield real
        if real.process is not None and real.process.poll() is None:
            real.kill()


@pytest.fixture(scope="session")
def history() -> Batch:
    return read_history(1).bootstrap
