"""Redis as others run it: with rights for this much only, over TLS, in a cluster."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.crc import key_slot
from tests.takeovers import DATA, KEY, MODEL, digest, event, publish

from retuned.demo.daemon import free_port
from retuned.errors import PermanentError, TransientError
from retuned.registry import keys
from retuned.registry.connect import connect, ping, translated
from retuned.registry.history import event_log
from retuned.registry.history.event_log import EventLog
from retuned.registry.inspection import inspected
from retuned.registry.lease.leases import LeaseBook, Party
from retuned.registry.lease.shared_tenures import SharedTenures
from retuned.registry.lease.tenure import Term
from retuned.registry.memory import Fleeting
from retuned.registry.pins import Pin
from retuned.registry.server import EmbeddedRedis
from retuned.registry.studies import StudyBook, StudyRecord
from retuned.registry.versions import Registry
from retuned.settings import RedisSettings
from retuned_pipelines.care.orders import Boundary

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "registry.md"


def use_everything(client: Redis) -> None:
    """All that the daemon asks of Redis."""
    ping(client)
    party = Party(id="home", url="http://here")
    tenures = SharedTenures(LeaseBook(client), Fleeting(), party, Term(lease_s=30))
    tenures.turn(MODEL)
    tenures.turn(MODEL)
    tenures.settle(MODEL)
    registry, book, log = (
        Registry(client, KEY, fence=tenures, keep_versions=1),
        StudyBook(client),
        EventLog(client, KEY),
    )
    serving = publish(registry)
    registry.prune(publish(registry, 2, expected="1.1", data=b"newer"), serving.revision)
    registry.pin(MODEL, Pin(version=2, who="ann", reason="", at=1.0), event("pinned"))
    registry.unpin(MODEL, 2, event("unpinned"))
    registry.mend(MODEL)
    registry.reseal(MODEL)
    registry.prune(publish(registry, 3, expected="2.1"), None)
    assert registry.champion(MODEL) is not None
    assert registry.artifact(MODEL, digest(DATA)) == DATA
    assert len(registry.versions(MODEL)) == 3
    log.append(event("alone"))
    assert log.newest(MODEL, 10)
    client.xadd(keys.events(MODEL), {"event": "a fake"})
    log.audit(MODEL)
    log.forward(MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_log, "KEPT", 2)
        log.audit(MODEL)
    assert log.verified(MODEL).findings == []
    record = StudyRecord(
        id="s1", model=MODEL, as_of=9, started_at=5.0, rows=8, planned=3, boundary=Boundary(1, 9)
    )
    book.open(record)
    book.write(record)
    assert book.studies(MODEL) == (record,)
    assert book.trials(MODEL, "s1") == ()
    assert inspected(client, MODEL, KEY).wrong == []
    tenures.close()
    with translated():
        client.info("memory")


# Rights


def documented_rights() -> list[str]:
    """The rules of the ACL line that users are told."""
    line = re.search(
        r"^ACL SETUSER retuned reset on >PASSWORD (.*)$", PAGE.read_text(), re.MULTILINE
    )
    assert line is not None
    return line.group(1).split()


@pytest.fixture
def restricted(server: EmbeddedRedis, redis: Redis, tmp_path: Path) -> Iterator[RedisSettings]:
    client: Any = redis
    client.execute_command(
        "ACL", "SETUSER", "retuned", "reset", "on", ">secret", *documented_rights()
    )
    (tmp_path / "password").write_text("secret\n")
    yield RedisSettings(
        url=f"unix://{server.socket}", username="retuned", password_file=tmp_path / "password"
    )
    client.execute_command("ACL", "DELUSER", "retuned")


def test_a_user_with_the_documented_rights_can_do_all_that_is_needed(
    restricted: RedisSettings,
) -> None:
    with closing(connect(restricted)) as client:
        use_everything(client)


@pytest.mark.parametrize(
    "words",
    [
        ("GET", "another:key"),
        ("SET", "retuned", "x"),
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("CONFIG", "GET", "*"),
        ("EVAL", "return 1", "0"),
        ("PUBLISH", "another:channel", "x"),
        ("ACL", "LIST"),
        ("SHUTDOWN",),
    ],
)
def test_a_user_with_the_documented_rights_can_do_nothing_else(
    restricted: RedisSettings, words: tuple[str, ...]
) -> None:
    with closing(connect(restricted)) as plain:
        client: Any = plain
        with pytest.raises(PermanentError, match="refuses this user"), translated():
            client.execute_command(*words)


# TLS


@contextmanager
def running(folder: Path, port: int, *arguments: str) -> Iterator[None]:
    """The system's own server, on TCP."""
    binary = shutil.which("redis-server", path="/usr/bin:/usr/local/bin")
    if binary is None:
        pytest.skip("redis-server is not installed")
    command = [binary, "--dir", str(folder), "--bind", "127.0.0.1", "--save", "", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "Ready to accept connections" in line:
                break
        else:
            pytest.skip(f"redis-server cannot do this on port {port}: built without it")
        yield
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rt-") as name:
        yield Path(name)


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def certify(folder: Path) -> None:
    """A throw-away authority, and a server's certificate for this machine."""
    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl(folder, *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=throw-away")
    openssl(
        folder,
        *new,
        *("-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "server.key", "-out", "server.pem"),
        *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-addext", "basicConstraints=critical,CA:FALSE"),
    )


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_server_over_tls_is_used_and_checked(folder: Path) -> None:
    certify(folder)
    port = free_port()
    tls = (
        *("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", "server.pem", "--tls-key-file", "server.key"),
        *("--tls-ca-cert-file", "ca.pem"),
    )
    with running(folder, port, *tls):
        url = f"rediss://127.0.0.1:{port}/0"
        with closing(connect(RedisSettings(url=url, tls_ca_file=folder / "ca.pem"))) as client:
            use_everything(client)
        # Whom nobody vouches for is not spoken to.
        stranger = connect(RedisSettings(url=url))
        with closing(stranger), pytest.raises(TransientError, match="certificate verify failed"):
            ping(stranger)


# Clusters


def test_all_keys_of_a_model_share_a_slot() -> None:
    models = [MODEL, "other", "a-b_c", "x" * 63]
    slots = []
    for model in models:
        names = set()
        for name, function in inspect.getmembers(keys, inspect.isfunction):
            more = {"sha256": "ab" * 32, "version": 3, "number": 7, "name": "s1", "cargo": "rows"}
            wanted = list(inspect.signature(function).parameters)
            assert wanted[0] == "model", name
            names.add(function(model, *(more[one] for one in wanted[1:])))
        assert len(names) == len(inspect.getmembers(keys, inspect.isfunction))
        assert all(name.startswith(f"retuned:{{{model}}}:") for name in names)
        (slot,) = {key_slot(name.encode()) for name in names}
        slots.append(slot)
    assert len(set(slots)) == len(models)


def test_a_server_in_cluster_mode_is_used(folder: Path) -> None:
    port = free_port()
    plain = connect(RedisSettings(url=f"redis://127.0.0.1:{port}/0"))
    cluster = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with running(folder, port, "--port", str(port), *cluster), closing(plain):
        client: Any = plain
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        deadline = time.monotonic() + 20
        while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
            assert time.monotonic() < deadline
        # Here scripts may touch keys of one slot only, and none that they do not name.
        use_everything(client)
