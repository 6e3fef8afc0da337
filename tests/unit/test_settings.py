"""Settings: what is read, what is refused, and that every finding is told."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from retuned.errors import ConfigError
from retuned.settings import Settings, load, load_models
from retuned.settings.daemon import PREFIX
from retuned.settings.envfile import known_keys
from retuned.settings.model import ModelFile, load_model
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import ModelSpec

if TYPE_CHECKING:
    from retuned.settings import Finding

ROOT = Path(__file__).parents[2]
LEAST = "TASK=regression\nTARGET=y\n"
COMMENTED = re.compile(r"#([A-Z][A-Z0-9_]*)=(.*)")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in list(os.environ):
        if key.upper().startswith(PREFIX):
            monkeypatch.delenv(key)


def findings(directory: Path, text: str, name: str = "bikes") -> dict[str, str]:
    """Problems by key of one model file."""
    path = directory / f"{name}.env"
    path.write_text(text)
    spec, found = load_model(path)
    assert (spec is None) == bool(found)
    return {finding.key: finding.problem for finding in found}


def refusal(env_file: Path | None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(env_file)
    return str(caught.value).splitlines()


# What is read


def test_task_and_target_alone_suffice(tmp_path: Path) -> None:
    (tmp_path / "bikes.env").write_text(LEAST)
    loaded = load_models(tmp_path)
    assert loaded.findings == ()
    assert loaded.specs == {
        "bikes": ModelSpec(
            name="bikes", task=Task.REGRESSION, target="y", metric="neg_mean_absolute_error"
        )
    }


def test_every_key_of_a_model_reaches_its_spec(tmp_path: Path) -> None:
    given = LEAST + (
        "TIME=at\nID=no\nMETRIC=r2\nWATCH__EVERY_ROWS=20\nSEARCH__METHOD=random\n"
        "SEARCH__FAMILIES=linear, lightgbm\nGATE__BLOCKS=5\nSCHEDULE__CRON='0 3 * * 1'\n"
        "GATE__GUARDS=neg_median_absolute_error, r2\nGATE__SLICES=region\n"
    )
    (tmp_path / "bikes.env").write_text(given)
    spec = load_models(tmp_path).specs["bikes"]
    assert (spec.time, spec.id, spec.metric) == ("at", "no", "r2")
    assert spec.watch.every_rows == 20
    assert spec.search.method == "random"
    assert spec.search.families == ("linear", "lightgbm")
    assert spec.gate.blocks == 5
    assert spec.gate.guards == ("neg_median_absolute_error", "r2")
    assert spec.gate.slices == ("region",)
    assert spec.schedule.cron == "0 3 * * 1"


def test_names_of_hosts_are_the_same_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETUNED_HTTP__HOSTS", "MyBox.Local, models.example")
    assert load(None).http.hosts == ("mybox.local", "models.example")


def test_the_process_environment_does_not_leak_into_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TARGET", "leaked")
    monkeypatch.setenv("ID", "leaked")
    monkeypatch.setenv("WATCH__EVERY_ROWS", "999")
    (tmp_path / "bikes.env").write_text(LEAST)
    spec = load_models(tmp_path).specs["bikes"]
    assert (spec.target, spec.id, spec.watch.every_rows) == ("y", "id", 1000)


def test_the_environment_wins_over_the_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "retuned.env"
    path.write_text("RETUNED_STATE_DIR=/from/file\nRETUNED_LOG__LEVEL=debug\n")
    monkeypatch.setenv("RETUNED_STATE_DIR", "/from/environment")
    monkeypatch.setenv("RETUNED_HTTP__HOSTS", "a.example, b.example")
    settings = load(path)
    assert settings.state_dir == Path("/from/environment")
    assert settings.log.level == "debug"
    assert settings.http.hosts == ("a.example", "b.example")


def test_an_empty_value_is_the_default(tmp_path: Path) -> None:
    path = tmp_path / "retuned.env"
    path.write_text("RETUNED_STATE_DIR=\nRETUNED_REDIS__PASSWORD_FILE=\n")
    assert load(path) == load(None)


def test_a_redis_over_tls_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "retuned.env"
    path.write_text(
        "RETUNED_REDIS__URL=rediss://db.example:6380/0\nRETUNED_REDIS__USERNAME=retuned\n"
        "RETUNED_REDIS__PASSWORD_FILE=/run/secret\nRETUNED_REDIS__TLS_CA_FILE=/etc/ca.pem\n"
    )
    assert load(path).redis.tls_ca_file == Path("/etc/ca.pem")


# What is refused


@pytest.mark.parametrize(
    ("line", "key", "says"),
    [
        ("WATCH__EVRY_ROWS=5", "WATCH__EVRY_ROWS", "did you mean WATCH__EVERY_ROWS"),
        ("SEARCH__TRIALS=many", "SEARCH__TRIALS", "valid integer"),
        ("WATCH__LOSS_ALPHA=1.5", "WATCH__LOSS_ALPHA", "less than 1"),
        ("WATCH__LOSS_EFFECT=inf", "WATCH__LOSS_EFFECT", "finite"),
        ("GATE__SHARE=nan", "GATE__SHARE", "finite"),
        ("SEARCH__METHOD=annealing", "SEARCH__METHOD", "'halving' or 'hyperband'"),
        ("SEARCH__FAMILIES=xgboost", "SEARCH__FAMILIES", "known are forest, lightgbm, linear"),
        ("SEARCH__FAMILIES=linear,linear", "SEARCH__FAMILIES", "twice"),
        ("METRIC=roc_auc", "METRIC", "cannot score a regression task"),
        ("METRIC=mae", "METRIC", "no scorer"),
        ("GATE__MIN_BLOCKS=9", "GATE__MIN_BLOCKS", "more than GATE__BLOCKS, which is 8"),
        ("GATE__BLOCKS=2", "GATE__MIN_BLOCKS", "more than GATE__BLOCKS, which is 2"),
        ("GATE__BLOCK_ROWS=2000", "GATE__MAX_ROWS", "which is 8000"),
        ("GATE__GUARDS=recall", "GATE__GUARDS", "cannot score a regression task"),
        ("GATE__GUARDS=mae", "GATE__GUARDS", "no scorer"),
        ("GATE__GUARDS=r2,r2", "GATE__GUARDS", "twice"),
        ("GATE__SLICES=y", "GATE__SLICES", "classes only can be slices"),
        ("SCHEDULE__CRON=whenever", "SCHEDULE__CRON", "five fields"),
        ("SCHEDULE__CRON=0 0 30 2 *", "SCHEDULE__CRON", "never comes"),
        ("SCHEDULE__EVERY_S=0.001", "SCHEDULE__EVERY_S", "too often"),
        ("SCHEDULE__EVERY_S=1e300", "SCHEDULE__EVERY_S", "less than or equal"),
        ("SCHEDULE__CRON=0 3 * * 1\nSCHEDULE__EVERY_S=60", "SCHEDULE__EVERY_S", "one of the two"),
        ("TIME=y", "TIME", "TARGET already"),
        ("TIME=id", "ID", "TIME already"),
        ("ID=y", "ID", "TARGET already"),
    ],
)
def test_a_wrong_value_is_told_with_key_and_what_is_allowed(
    tmp_path: Path, line: str, key: str, says: str
) -> None:
    found = findings(tmp_path, LEAST + line + "\n")
    assert list(found) == [key]
    assert says in found[key]


@pytest.mark.parametrize(
    ("line", "key", "says"),
    [
        ("TIME=${HOME}", "TIME", "${...}"),
        ("TIME=at # when", "TIME", "line of its own"),
        ("TIME= at", "TIME", "spaces"),
        ("TIME=at ", "TIME", "spaces"),
        ("TIME=a\\b", "TIME", "backslash"),
        ('TIME=a"t', "TIME", "quote within"),
        ("TIME='at", "TIME", "does not end"),
        ('TIME="a" "t"', "TIME", "does not end"),
        ("export TIME=at", "export TIME", "(line 3)"),
        ("TIME = at", "TIME", "no spaces"),
        ("time=at", "time", "upper-case"),
        ("TIME=at\nTIME=at", "TIME", "twice"),
        ("; a comment", "", "(line 3)"),
        ("# ends in a backslash \\\nTIME=at", "", "next line"),
    ],
)
def test_what_two_readers_of_env_files_read_differently_is_refused(
    tmp_path: Path, line: str, key: str, says: str
) -> None:
    found = findings(tmp_path, LEAST + line + "\n")
    assert says in found[key]


@pytest.mark.parametrize(
    "line", ["TIME=a$t", "TIME='a #t'", 'TIME="a t"', "TIME=a=t", "TIME=zeit_ü"]
)
def test_what_both_read_alike_is_accepted(tmp_path: Path, line: str) -> None:
    assert findings(tmp_path, LEAST + line + "\n") == {}


def test_all_findings_are_told_at_once(tmp_path: Path) -> None:
    wrong = (
        "TASK=guess\nSEARCH__TRIALS=x\nSEARCH__FAMILIES=foo\nSCHEDULE__CRON=bad\n"
        "GATE__BLOCKS=2\nWATCH__EVRY_ROWS=1\nTIME=a\\b\n"
    )
    assert set(findings(tmp_path, wrong)) == {
        "TASK",
        "TARGET",
        "SEARCH__TRIALS",
        "SEARCH__FAMILIES",
        "SCHEDULE__CRON",
        "GATE__MIN_BLOCKS",
        "WATCH__EVRY_ROWS",
        "TIME",
    }


@pytest.mark.parametrize("name", ["Bikes", "1bikes", "bi.kes", "b" * 64])
def test_the_name_of_a_file_is_the_name_of_a_model(tmp_path: Path, name: str) -> None:
    assert "no name of a model" in findings(tmp_path, LEAST, name)[""]


@pytest.mark.parametrize("broken", [b"TASK=regression\nTARGET=\xff\n", None])
def test_a_file_that_cannot_be_read_leaves_the_other_models_alone(
    tmp_path: Path, broken: bytes | None
) -> None:
    (tmp_path / "good.env").write_text(LEAST)
    if broken is None:
        (tmp_path / "bad.env").mkdir()
    else:
        (tmp_path / "bad.env").write_bytes(broken)
    loaded = load_models(tmp_path)
    assert list(loaded.specs) == ["good"]
    found: tuple[Finding, ...] = loaded.findings
    assert [finding.where for finding in found] == [str(tmp_path / "bad.env")]


def test_a_directory_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    loaded = load_models(tmp_path / "nowhere")
    assert "RETUNED_MODELS_DIR" in loaded.findings[0].text


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("RETUNED_STAT_DIR", "x", "did you mean RETUNED_STATE_DIR"),
        ("retuned_state_dir", "x", "did you mean RETUNED_STATE_DIR"),
        ("RETUNED_REDIS__PASSWORD", "hunter2", "did you mean RETUNED_REDIS__PASSWORD_FILE"),
        ("RETUNED_REDIS__URL", "redsi://:hunter2@host", "rediss://host:port"),
        ("RETUNED_REDIS__USERNAME", "me", "RETUNED_REDIS__URL"),
        ("RETUNED_HTTP__LISTEN", "0.0.0.0:80", "no access control"),
        ("RETUNED_HTTP__LISTEN", "127.0.0.1", "127.0.0.1:8420"),
        ("RETUNED_HTTP__URL", "example.org", "is no address"),
        ("RETUNED_LEASE_S", "0.5", "greater than or equal to 1"),
        ("RETUNED_HTTP__MAX_BODY_MB", "0", "greater than or equal to 1"),
        ("RETUNED_LOG__LEVEL", "loud", "'debug'"),
        ("RETUNED_SEARCH__EXECUTOR", "dask://host", "'local'"),
    ],
)
def test_a_wrong_variable_of_the_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str, says: str
) -> None:
    monkeypatch.setenv(key, value)
    (line,) = refusal(None)
    assert line.startswith(f"environment: {key}: ")
    assert says in line
    assert "hunter2" not in line


def test_a_ca_file_needs_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETUNED_REDIS__URL", "redis://host:6379/0")
    monkeypatch.setenv("RETUNED_REDIS__TLS_CA_FILE", "/etc/ca.pem")
    assert ["rediss://" in line for line in refusal(None)] == [True]


def test_every_finding_says_whether_the_file_or_the_environment_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "retuned.env"
    path.write_text("RETUNED_LOG__LEVEL=loud\nRETUNED_OTHER=1\n")
    monkeypatch.setenv("RETUNED_SEARCH__WORKERS", "-1")
    told = {line.split(": ")[1]: line.split(": ")[0] for line in refusal(path)}
    assert told == {
        "RETUNED_OTHER": str(path),
        "RETUNED_LOG__LEVEL": str(path),
        "RETUNED_SEARCH__WORKERS": "environment",
    }


@pytest.mark.parametrize("content", [None, b"RETUNED_STATE_DIR=\xff\n"])
def test_an_env_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "retuned.env"
    if content is not None:
        path.write_bytes(content)
    (line,) = refusal(path)
    assert line.startswith(str(path))


# What is documented


def commented(path: Path) -> dict[str, str]:
    found = (COMMENTED.fullmatch(line) for line in path.read_text().splitlines())
    return {match[1]: match[2] for match in found if match is not None}


def test_the_daemons_env_file_lists_every_key_with_its_default(tmp_path: Path) -> None:
    listed = commented(ROOT / "configs/retuned.env")
    assert set(listed) == {PREFIX + key for key in known_keys(Settings)}
    path = tmp_path / "retuned.env"
    path.write_text("".join(f"{key}={value}\n" for key, value in listed.items()))
    assert load(path) == load(None) == load(ROOT / "configs/retuned.env")


def test_a_models_env_file_lists_every_key_with_its_default(tmp_path: Path) -> None:
    listed = commented(ROOT / "configs/models/bike_sharing.env")
    assert set(listed) == set(known_keys(ModelFile)) - {"TASK", "TARGET"}
    for name, lines in (("least", ""), ("all", "\n".join(f"{k}={v}" for k, v in listed.items()))):
        (tmp_path / f"{name}.env").write_text(LEAST + lines + "\n")
    specs = load_models(tmp_path).specs
    assert replace(specs["all"], name="least") == specs["least"]


def test_the_shipped_model_files_are_right() -> None:
    loaded = load_models(ROOT / "configs/models")
    assert loaded.findings == ()
    assert {"bike_sharing", "elec2"} <= set(loaded.specs)


def test_the_reference_lists_every_key_with_its_default() -> None:
    page = (ROOT / "docs/reference/configuration.md").read_text()
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| .*? \| (.*?) \| ", page, re.MULTILINE))
    daemon = commented(ROOT / "configs/retuned.env")
    model = commented(ROOT / "configs/models/bike_sharing.env")
    expected = {key: f"`{value}`" if value else "empty" for key, value in (daemon | model).items()}
    assert rows == expected | {"TASK": "required", "TARGET": "required"}
