"""``retuned check``: tells all that is wrong before a start, and what to do about it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.takeovers import DATA, digest, event, publish

from retuned.check import check
from retuned.registry import keys
from retuned.registry.connect import connect
from retuned.registry.history.chain import BEGINNING, linked
from retuned.registry.history.event_log import EventLog
from retuned.registry.journal import Journal
from retuned.registry.server import EmbeddedRedis
from retuned.registry.signing import SigningKey, rotate
from retuned.registry.versions import Registry
from retuned.runtime.clock import VirtualClock
from retuned.settings.daemon import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "TASK=regression\nTARGET=y\n"


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with one right model, named by the environment; short, for unix sockets."""
    for key in list(os.environ):
        if key.upper().startswith(PREFIX):
            monkeypatch.delenv(key)
    path = Path(tempfile.mkdtemp(prefix="retuned-"))
    (path / "models").mkdir()
    (path / "models" / "bikes.env").write_text(MODEL)
    monkeypatch.setenv("RETUNED_STATE_DIR", str(path / "state"))
    monkeypatch.setenv("RETUNED_MODELS_DIR", str(path / "models"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def redis(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedRedis]:
    """A server of the user's own: durable, and evicting nothing."""
    server = EmbeddedRedis(directory / "redis")
    server.start()
    monkeypatch.setenv("RETUNED_REDIS__URL", f"unix://{server.socket}")
    yield server
    server.stop()


def told(env_file: Path | None = None) -> tuple[bool, list[str], list[str]]:
    """Whether all is fine, what is fine, and what is wrong."""
    lines: list[str] = []
    is_fine = check(env_file, lines.append)
    marks = {line.split()[0] for line in lines}
    assert marks <= {"ok", "WRONG"}
    return (
        is_fine,
        [line[7:] for line in lines if line.startswith("ok ")],
        [line[7:] for line in lines if line.startswith("WRONG ")],
    )


def test_a_right_configuration_is_told_line_by_line(directory: Path) -> None:
    is_fine, fine, wrong = told()
    assert (is_fine, wrong) == (True, [])
    for start in ("settings", "model bikes", "state directory", "disk", "Redis: a private one"):
        assert any(line.startswith(start) for line in fine)
    assert not (directory / "state").exists()


def test_wrong_settings_are_told_all(directory: Path) -> None:
    path = directory / "retuned.env"
    path.write_text("RETUNED_STAT_DIR=x\nRETUNED_LOG__LEVEL=loud\n")
    is_fine, _, wrong = told(path)
    assert not is_fine
    assert [line.split(": ")[1] for line in wrong] == ["RETUNED_STAT_DIR", "RETUNED_LOG__LEVEL"]


def test_a_wrong_model_is_told_beside_a_right_one(directory: Path) -> None:
    (directory / "models" / "elec.env").write_bytes(b"TASK=\xff\n")
    is_fine, fine, wrong = told()
    assert not is_fine
    assert any(line.startswith("model bikes") for line in fine)
    assert [line.split(": ")[0] for line in wrong] == [str(directory / "models" / "elec.env")]


def test_no_model_at_all_is_told(directory: Path) -> None:
    (directory / "models" / "bikes.env").unlink()
    assert "put <name>.env there" in told()[2][0]


def test_a_state_directory_that_is_open_to_others_is_told(directory: Path) -> None:
    (directory / "state").mkdir(mode=0o700)
    assert told()[0]
    (directory / "state").chmod(0o755)
    assert "chmod 700" in told()[2][0]


def test_a_state_directory_that_cannot_be_one_is_told(directory: Path) -> None:
    (directory / "state").write_text("a file")
    (line,) = told()[2]
    assert line.startswith("RETUNED_STATE_DIR=")


def test_a_state_directory_too_long_for_a_socket_is_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETUNED_STATE_DIR", str(directory / ("s" * 100)))
    assert "too long" in told()[2][0]


def test_a_right_redis_is_told_with_its_version(redis: EmbeddedRedis) -> None:
    is_fine, fine, wrong = told()
    assert (is_fine, wrong) == (True, [])
    assert any(line.startswith("Redis ") and "answers" in line for line in fine)
    assert redis.is_running()


def test_a_redis_that_may_lose_the_registry_is_told(redis: EmbeddedRedis) -> None:
    with closing(connect(redis.socket)) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
    is_fine, _, wrong = told()
    assert not is_fine
    assert [("noeviction" in line, "appendonly yes" in line) for line in wrong] == [
        (True, False),
        (False, True),
    ]


def test_a_redis_that_keeps_its_configuration_to_itself_is_fine(
    redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(connect(redis.socket)) as client:
        client.acl_setuser(
            "guest", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-config"]
        )
    monkeypatch.setenv("RETUNED_REDIS__USERNAME", "guest")
    assert told()[2] == []


def test_a_redis_that_is_away_is_told(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETUNED_REDIS__URL", f"unix://{directory}/nobody.sock")
    assert "cannot be reached" in told()[2][0]


def test_the_redis_of_the_streams_is_told_beside_the_registrys(
    redis: EmbeddedRedis, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETUNED_STREAM__URL", f"unix://{redis.socket}")
    assert any(line.startswith("Redis of the streams") for line in told()[1])
    monkeypatch.setenv("RETUNED_STREAM__URL", f"unix://{directory}/nobody.sock")
    (line,) = told()[2]
    assert line.startswith("RETUNED_STREAM__URL: ")


def test_streams_in_the_private_redis_wait_for_the_daemon_to_start_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETUNED_STREAM__URL", f"unix://{directory}/state/redis/redis.sock")
    assert told()[2] == []


def test_a_spool_that_is_not_there_is_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETUNED_SPOOL__DIR", str(directory / "spool"))
    (line,) = told()[2]
    assert line.startswith("RETUNED_SPOOL__DIR=")
    (directory / "spool").mkdir()
    assert f"spool: {directory / 'spool'}" in told()[1]


# The registry's content


def test_the_signing_key_is_told_by_its_name(directory: Path) -> None:
    assert any("signing.key (made at the first start)" in line for line in told()[1])
    (directory / "state").mkdir(mode=0o700)
    key = SigningKey.load_or_make(directory / "state" / "signing.key")
    assert any(line.startswith(f"signing key: {key.id} of ") for line in told()[1])
    (directory / "state" / "signing.key").chmod(0o644)
    assert any("chmod 600" in line for line in told()[2])


def test_what_does_not_verify_is_told(redis: EmbeddedRedis, directory: Path) -> None:
    (directory / "state").mkdir(mode=0o700)
    path = directory / "state" / "signing.key"
    with closing(connect(redis.socket)) as client:
        publish(Registry(client, SigningKey.load_or_make(path)))
        client.rename(keys.champion("demo"), keys.champion("bikes"))
        client.rename(keys.versions("demo"), keys.versions("bikes"))
        wrong = told()[2]
        assert len(wrong) == 2
        assert "champion of bikes is one of demo" in wrong[0]
        assert "version 1 of bikes is version 1 of demo" in wrong[1]
        client.delete(keys.champion("bikes"), keys.versions("bikes"))
        (directory / "models" / "demo.env").write_text(MODEL)
        publish(Registry(client, SigningKey.load(path)))
        assert any(line == "registry: 1.1 of demo, 2 manifests" for line in told()[1])
        rotate(path)
        assert any("3 seals of demo are of an older key" in line for line in told()[1])
        client.set(keys.chunk("demo", digest(DATA), 0), "changed")
        assert ["not what its digest says" in line for line in told()[2]] == [True]


def told_of_history() -> tuple[list[str], list[str]]:
    """What is fine and what is wrong with the history."""
    _, fine, wrong = told()
    return [line for line in fine if line.startswith("history")], [
        line for line in wrong if line.startswith("history")
    ]


def test_a_history_that_was_changed_is_told(redis: EmbeddedRedis, directory: Path) -> None:
    state = directory / "state"
    state.mkdir(mode=0o700)
    key = SigningKey.load_or_make(state / "signing.key")
    assert told_of_history() == ([], [])
    with (
        closing(connect(redis.socket)) as client,
        closing(Journal(state / "journal.sqlite", VirtualClock())) as journal,
    ):
        log = EventLog(client, key, journal)
        for name in "abcd":
            log.append(event(name, "bikes"))
        assert told_of_history()[0] == ["history: bikes: 4 events verify, to number 4"]
        found: Any = client.xrange(keys.events("bikes"))
        client.xdel(keys.events("bikes"), found[-1][0])
        assert told_of_history()[1] == [
            "history: bikes: the end is cut off: event 4 had been there"
        ]
        client.xdel(keys.events("bikes"), found[1][0])
        assert told_of_history()[1][0] == "history: bikes: event 2: not there"
        rotate(state / "signing.key")
        log.catch_up("bikes")
        log.forward("bikes")
        assert "signed with an older key" in told_of_history()[0][1]


def test_while_redis_is_away_the_journals_copy_of_the_history_is_checked(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = directory / "state"
    state.mkdir(mode=0o700)
    key = SigningKey.load_or_make(state / "signing.key")
    journal = Journal(state / "journal.sqlite", VirtualClock())
    texts = [event(name, "bikes").text for name in "abc"]
    journal.archive.keep("bikes", linked("bikes", BEGINNING, texts, key))
    copy = "history: bikes, the local journal's copy"
    line = f"{copy}: 3 events verify, to number 3; Redis is away, what it holds was not checked"
    assert told_of_history() == ([line], [])
    journal.close()
    before = sorted(path.name for path in state.iterdir())
    assert told_of_history() == ([line], [])
    assert sorted(path.name for path in state.iterdir()) == before
    with closing(sqlite3.connect(state / "journal.sqlite")) as db, db:
        db.execute("UPDATE event SET value = ? WHERE number = 2", (texts[0],))
    assert told_of_history()[1] == [f"{copy}: event 2 was changed"]
    monkeypatch.setenv("RETUNED_REDIS__URL", f"unix://{directory}/nobody.sock")
    assert told_of_history()[1] == [f"{copy}: event 2 was changed"]
    (state / "journal.sqlite").write_bytes(b"not a journal at all" * 100)
    assert any("journal.sqlite cannot be read" in line for line in told()[2])


# Gives up root's rights after the imports, and looks where it may not.
WITHOUT_RIGHTS = """
import os, sys
from retuned.check import check
import retuned_pipelines.evaluate.metrics
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
sys.exit(0 if check(None, print) else 1)
"""


@pytest.mark.parametrize("key", ["RETUNED_STATE_DIR", "RETUNED_MODELS_DIR"])
def test_a_directory_that_this_user_may_not_see_is_told(directory: Path, key: str) -> None:
    directory.chmod(0o755)
    (directory / "closed").mkdir(mode=0o700)
    given = {key: str(directory / "closed" / "inner")}
    if os.getuid() == 0:
        ended = subprocess.run(
            [sys.executable, "-c", WITHOUT_RIGHTS],
            env={**os.environ, **given},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (1, "")
        output = ended.stdout
    else:
        (directory / "closed").chmod(0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(key, given[key])
            output = "\n".join(told()[2])
        (directory / "closed").chmod(0o700)
    assert str(directory / "closed") in output
