"""The unit file fits the daemon that it runs; systemd's own opinion: tests/acceptance."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from retuned.settings import load
from retuned.terminal.arguments import parser

UNIT = Path(__file__).parents[2] / "systemd" / "retuned.service"


@pytest.fixture(scope="module")
def service() -> list[tuple[str, str]]:
    """The lines of [Service], in their order; keys may repeat."""
    lines = UNIT.read_text().partition("[Service]\n")[2].partition("\n[Install]")[0].splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return [(key, value) for key, _, value in pairs]


def values(service: list[tuple[str, str]], key: str) -> list[str]:
    return [value for name, value in service if name == key]


def test_the_command_is_one_that_the_command_line_knows(service: list[tuple[str, str]]) -> None:
    (command,) = values(service, "ExecStart")
    env, program, *arguments = shlex.split(command)
    assert (env, program) == ("/usr/bin/env", "retuned")
    assert str(parser("").parse_args(arguments).env_file) == "/etc/retuned/retuned.env"


def test_its_settings_are_accepted_and_fit_its_directories(
    service: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in values(service, "Environment"):
        name, _, value = line.partition("=")
        monkeypatch.setenv(name, value)
    settings = load(None)
    (state,) = values(service, "StateDirectory")
    assert settings.state_dir == Path("/var/lib") / state
    assert settings.models_dir == Path("/etc/retuned/models")
    assert values(service, "StateDirectoryMode") == ["0700"]


def test_the_env_file_wins_over_the_units_own_settings(service: list[tuple[str, str]]) -> None:
    assert values(service, "EnvironmentFile") == ["/etc/retuned/retuned.env"]


def test_it_speaks_of_start_reload_life_and_stop_as_the_daemon_does(
    service: list[tuple[str, str]],
) -> None:
    # systemd 252 of Debian 12 ignores notify-reload.
    assert values(service, "Type") == ["notify"]
    assert values(service, "ExecReload") == ["/bin/kill -HUP $MAINPID"]
    assert int(values(service, "WatchdogSec")[0]) >= 10
    assert values(service, "KillMode") == ["mixed"]
    assert int(values(service, "TimeoutStopSec")[0]) > 10


def test_wrong_settings_do_not_restart_for_ever(service: list[tuple[str, str]]) -> None:
    assert values(service, "Restart") == ["on-failure"]
    assert values(service, "RestartPreventExitStatus") == ["2"]


def test_a_trial_may_set_limits_and_priority(service: list[tuple[str, str]]) -> None:
    filters = values(service, "SystemCallFilter")
    assert filters[0] == "@system-service"
    assert "@resources" not in " ".join(filters)
    assert values(service, "OOMPolicy") == ["continue"]
