"""Time as a thing that is handed in, and a directory as a thing that one daemon holds."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retuned.errors import ConfigError
from retuned.runtime.clock import SystemClock, VirtualClock
from retuned.runtime.lock import StateLock, locked, name_of


def test_the_system_s_clock_tells_the_time() -> None:
    before = time.time()
    assert before <= SystemClock().now() <= time.time()


def test_a_virtual_clock_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock(5.0)
    assert clock.now() == clock.now() == 5.0
    clock.move_to(5.0)
    clock.move_to(8.5)
    assert clock.now() == 8.5


def test_a_virtual_clock_never_goes_back() -> None:
    clock = VirtualClock(5.0)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.move_to(4.9)
    assert clock.now() == 5.0


def test_a_directory_is_made_and_held_by_one_daemon(tmp_path: Path) -> None:
    directory = tmp_path / "state" / "deep"
    with locked(directory):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        with pytest.raises(ConfigError, match=f"process {os.getpid()}"), locked(directory):
            pytest.fail("two daemons hold one directory")
    with locked(directory):
        pass


HOLD = """
import sys
from pathlib import Path
from retuned.runtime.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_daemon_s_directory_is_free(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match=f"process {holder.pid}"), locked(tmp_path):
            pytest.fail("two daemons hold one directory")
        holder.kill()
        holder.wait()
    with locked(tmp_path):
        pass


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="RETUNED_STATE_DIR"), locked(tmp_path / "file" / "state"):
        pytest.fail("a file is no directory")


def test_who_waits_for_a_directory_gets_it_when_its_holder_is_gone(tmp_path: Path) -> None:
    with StateLock(tmp_path) as waiting:
        with locked(tmp_path):
            assert not waiting.take()
        assert waiting.take()


def test_a_directory_keeps_its_name(tmp_path: Path) -> None:
    name = name_of(tmp_path)
    assert name_of(tmp_path) == name
    (tmp_path / "other").mkdir()
    assert name_of(tmp_path / "other") != name


def test_a_damaged_name_is_told(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a b")
    with pytest.raises(ConfigError, match="is damaged"):
        name_of(tmp_path)
