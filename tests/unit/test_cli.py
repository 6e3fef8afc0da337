"""The command line: quick to help, clear when it fails, exact in its exit codes."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import retuned
from retuned.api import Api
from retuned.cli import COMMANDS, FAILED, OK, UNREACHABLE, USAGE, main
from retuned.errors import Unreachable
from retuned.registry.signing import SigningKey

ROOT = Path(__file__).parents[2]
NAMES = (
    "serve check rotate-key demo replay status models versions drift studies events compare "
    "retune stop-study pause resume adopt promote rollback pin unpin quarantine ingest "
    "export import reproduce"
)
HEAVY = {"numpy", "pandas", "pyarrow", "lightgbm", "sklearn", "optuna", "pydantic", "httpx", "rich"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def quickest_s(*arguments: str) -> float:
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        assert run(*arguments).returncode == 0
        taken.append(time.perf_counter() - begun)
    return min(taken)


def test_help_takes_at_most_twenty_times_an_empty_interpreter() -> None:
    assert quickest_s("-m", "retuned", "--help") < 20 * quickest_s("-c", "pass")


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from retuned.cli import EXITS, parser; parser(EXITS); print(*sys.modules)"
    assert HEAVY.isdisjoint(run("-c", code).stdout.split())


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    told = capsys.readouterr().out
    typed = re.findall(r"^ {4}([a-z-]+)\s", told, re.MULTILINE)
    assert set(typed) == set(NAMES.split()) == set(COMMANDS)
    for code in (OK, FAILED, USAGE, UNREACHABLE):
        assert f"{code} " in told.partition("exit codes:")[2]


def test_it_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"retuned {retuned.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["flub"], ["versions"], ["versions", "m", "1/artifact"], ["events", "m", "--limit", "x"]],
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: retuned" in capsys.readouterr().err


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that is taken, and where nobody listens."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


@pytest.mark.parametrize("command", ["models", "versions m", "retune m", "pause m"])
def test_where_no_daemon_answers_it_is_3(
    command: str, nobody: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), "--url", nobody]) == UNREACHABLE
    told = capsys.readouterr()
    assert told.out == ""
    assert f"no daemon answers at {nobody}" in told.err
    assert "retuned serve" in told.err


def test_a_daemon_that_is_busy_is_not_called_absent() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        with (
            closing(Api(f"127.0.0.1:{busy.getsockname()[1]}")) as api,
            pytest.raises(Unreachable, match="took the request and has not answered in time"),
        ):
            api.post("/v1/models/m/versions/1/reproduce", {}, wait_s=0.1)


def test_the_address_is_that_of_the_env_file(tmp_path: Path) -> None:
    listen = f"unix:{tmp_path}/nobody.sock"
    env_file = tmp_path / "retuned.env"
    env_file.write_text(f"RETUNED_HTTP__LISTEN={listen}\n")
    done = run("-m", "retuned", "models", "--env-file", str(env_file))
    assert done.returncode == UNREACHABLE
    assert f"no daemon answers at {listen}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "check", "models"])
def test_wrong_settings_are_named_with_file_and_key(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env_file = tmp_path / "retuned.env"
    env_file.write_text("RETUNED_STATE_DIRR=/x\n")
    assert main([command, "--env-file", str(env_file)]) != OK
    told = capsys.readouterr()
    assert f"{env_file}: RETUNED_STATE_DIRR" in told.out + told.err


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    # Standard output is closed before anything is written.
    env_file = tmp_path / "retuned.env"
    env_file.write_text(f"RETUNED_STATE_DIR={tmp_path}/state\nRETUNED_MODELS_DIR={tmp_path}\n")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as output:
        done = subprocess.run(
            [sys.executable, "-u", "-m", "retuned", "check", "--env-file", str(env_file)],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (OK, "")


def test_the_reference_tells_of_every_command() -> None:
    told = (ROOT / "docs" / "reference" / "cli.md").read_text()
    for command in NAMES.split():
        assert f"`retuned {command}" in told, command


# Keys


def test_a_key_is_rotated_and_the_old_one_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "retuned.env"
    file.write_text(f"RETUNED_SIGNING_KEY_FILE={tmp_path / 'our.key'}\n")
    assert main(["rotate-key", "--env-file", str(file)]) == USAGE
    assert "makes it at its first start" in capsys.readouterr().err
    first = SigningKey.load_or_make(tmp_path / "our.key")
    assert main(["rotate-key", "--env-file", str(file)]) == OK
    newest = SigningKey.load(tmp_path / "our.key")
    assert newest.ids == (newest.id, first.id)
    told = capsys.readouterr().out
    assert newest.id in told
    assert first.id in told
    assert newest.secret.hex() not in told
    assert main(["rotate-key", "--forget-old", "--env-file", str(file)]) == OK
    assert SigningKey.load(tmp_path / "our.key").ids == (newest.id,)
