"""A disk that runs full, for real: a small file system of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.acceptance.daemon import MODEL, RealDaemon

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

DISK_MB = 48
SPARE_MB = 16
ROWS = 500
WIDE = {f"x{n}": 0.1 * n for n in range(40)}


@pytest.fixture
def small() -> Iterator[RealDaemon]:
    """A daemon whose state is on a disk of a few megabytes."""
    with tempfile.TemporaryDirectory(prefix="retuned-") as directory:
        daemon = RealDaemon(Path(directory))
        daemon.write_model("bikes", MODEL)
        daemon.state.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(daemon.state)]
        mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
        if mounted.returncode and not os.environ.get("CI"):
            pytest.skip(f"a file system can be mounted by root only: {mounted.stderr.strip()}")
        assert mounted.returncode == 0, mounted.stderr
        try:
            yield daemon
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()
        finally:
            # Redis may still hold the folder for a moment.
            subprocess.run(["umount", "--lazy", str(daemon.state)], check=True)


def _send(daemon: RealDaemon, number: int) -> httpx.Response:
    names = range(number * ROWS, (number + 1) * ROWS)
    rows = [{"id": f"r{n}", "time": n, "target": 0.5 * n, **WIDE} for n in names]
    url = f"{daemon.url}/v1/models/bikes/rows"
    return httpx.post(url, json=rows, trust_env=False, timeout=60)


def _fill(daemon: RealDaemon, first: int) -> tuple[int, httpx.Response]:
    """Send batches until one is refused; gives its number and the answer."""
    number = first
    while (answer := _send(daemon, number)).is_success:
        number += 1
        assert number < first + 500, "the disk did not run full"
    return number, answer


def test_a_full_disk_refuses_clearly_loses_nothing_and_goes_on(small: RealDaemon) -> None:
    small.start(RETUNED_ROWS__SPARE_MB=str(SPARE_MB))
    small.post("/v1/models/bikes/pause", {"reason": "nothing but rows is to fill the disk"})
    taken, refused = _fill(small, 0)
    assert taken >= 5
    assert refused.status_code == 507
    assert int(refused.headers["retry-after"]) > 0
    told = refused.json()
    assert told["type"] == "/problems/disk-full"
    assert "Make room" in told["detail"]
    # There is room left for what serves: it is ready, and knows all that it acknowledged.
    assert small.is_ready()
    held = small.get("/v1/models/bikes")
    assert (held["rows"], held["labelled"]) == (taken * ROWS, taken * ROWS)

    # Somebody else takes the rest of the disk, too.
    filler = small.state / "filler"
    free = shutil.disk_usage(small.state).free
    filler.write_bytes(b"x" * max(0, free - 100_000))
    assert _send(small, taken).status_code == 507
    small.kill()
    filler.unlink()

    # With the daemon's own reserve gone, SQLite itself finds the disk full.
    small.start(RETUNED_ROWS__SPARE_MB="0")
    assert small.get("/v1/models/bikes")["rows"] == taken * ROWS
    ballast = small.state / "ballast"
    ballast.write_bytes(b"x" * max(0, shutil.disk_usage(small.state).free - 4_000_000))
    full, refused = _fill(small, taken)
    assert refused.status_code == 507
    assert small.get("/v1/models/bikes")["rows"] == full * ROWS

    # It goes on by itself when there is room, and repeats nothing that it has.
    ballast.unlink()
    assert _send(small, full).json()["accepted"] == ROWS
    again = _send(small, full).json()
    assert (again["accepted"], again["duplicates"]) == (0, ROWS)
    small.kill()
    small.start(RETUNED_ROWS__SPARE_MB="0")
    held = small.get("/v1/models/bikes")
    assert (held["rows"], held["labelled"]) == ((full + 1) * ROWS, (full + 1) * ROWS)
