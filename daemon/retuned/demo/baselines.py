"""What doing without the daemon would have cost, on the same rows in the same order."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from retuned.demo.history import BOOTSTRAP_SHARE
from retuned.errors import ConfigError
from retuned.replay.history import read_history
from retuned.replay.policies import baselines as policies
from retuned.settings import load_model
from retuned.tune.local import LocalExecutor

if TYPE_CHECKING:
    from pathlib import Path

    from retuned.replay.outcome import Policy

NAMES = {
    "never_refitted": "first model, never refitted",
    "refit_all": "refitted on everything, every period",
    "refit_window": "refitted on the newest fifth, every period",
    "persistence": "persistence: the last label known",
    "constant": "constant: median of the bootstrap",
}
"""Policies of a replay in words."""


def baselines(model: Path, periods: int) -> tuple[Policy, ...]:
    """Follow each simple policy of a replay through the periods.

    One thread: on a busy machine LightGBM's threads wait for each other most of the time.

    Args:
        model: the demo's model file.
        periods: into how many parts the rows after the bootstrap are cut.

    Raises:
        ConfigError: the model file is wrong.
    """
    spec, findings = load_model(model)
    if spec is None:
        raise ConfigError("\n".join(finding.text for finding in findings))
    with as_file(files("retuned.demo") / "data" / "bike_sharing.parquet") as data:
        history = read_history(data, spec, periods=periods, bootstrap=BOOTSTRAP_SHARE)
    executor = LocalExecutor(workers=1, threads=1)
    try:
        return policies(spec, history, executor, lambda _: None)
    finally:
        executor.close()
