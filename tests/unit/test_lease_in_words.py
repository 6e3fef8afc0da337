"""Who takes care of a model, in words and on pages."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from retuned.leasing import told
from retuned.registry.lease.tenure import Role, Tenure
from retuned.terminal.show import show
from retuned.words.events import tell
from retuned.words.status import lease_in_words

HOLDER = {"role": "holder", "holder": "http://a", "home": "http://a", "has_rows": True}
STANDBY = {"role": "standby", "holder": "http://a", "home": "http://a", "has_rows": False}
NOBODY = {"role": "standby", "holder": None, "home": "http://a", "has_rows": False}
WAITING = {"role": "standby", "holder": None, "home": "http://a", "has_rows": True}
STAND_IN = {"role": "stand-in", "holder": "http://b", "home": "http://a", "has_rows": False}


@pytest.mark.parametrize(
    ("lease", "expected"),
    [
        (HOLDER, ""),
        (STANDBY, "standby; http://a takes care of it"),
        (WAITING, "Redis does not answer: rows are taken, decisions wait"),
        (NOBODY, "standby; nobody at this moment takes care of it"),
        (STAND_IN, "decisions are suspended: the rows are with http://a"),
    ],
)
def test_a_lease_is_told(lease: dict[str, Any], expected: str) -> None:
    found = lease_in_words(lease)
    assert found.startswith(expected)
    assert bool(found) == bool(expected)


def test_a_lease_that_changed_hands_is_told() -> None:
    assert tell({"kind": "lease", "body": STAND_IN}) == (
        "http://b stands in for http://a, without its rows: it decides nothing"
    )
    assert tell({"kind": "lease", "body": HOLDER}) == "http://a takes care of it from now on"


@pytest.mark.parametrize(
    ("tenure", "expected"),
    [
        (Tenure(role=Role.HOLDER), "This daemon takes care of it."),
        (Tenure(role=Role.STANDBY), "rows are taken here, decisions wait"),
        (Tenure(role=Role.STANDBY, is_home=False), "nobody for a moment takes care of it"),
        (Tenure(role=Role.STANDBY, holder="http://a"), "http://a takes care of it"),
        (Tenure(role=Role.STAND_IN, home="http://a"), "stands in for http://a"),
    ],
)
def test_a_tenure_is_logged(tenure: Tenure, expected: str) -> None:
    assert expected in told(tenure)


@pytest.mark.parametrize(
    ("lease", "expected"),
    [
        (HOLDER, "watching"),
        (STANDBY, "standby of http://a"),
        (NOBODY, "standby of nobody"),
        (WAITING, "waits for Redis"),
        (STAND_IN, "suspended: rows are elsewhere"),
    ],
)
def test_the_list_of_models_tells_it(lease: dict[str, Any], expected: str) -> None:
    model = {
        "name": "bikes",
        "task": "regression",
        "champion": None,
        "rows": 0,
        "labelled": 0,
        "running": [],
        "is_paused": False,
        "lease": lease,
        "troubles": [],
    }
    page = StringIO()
    show(Console(file=page, width=200), "models", {"items": [model]})
    assert expected in page.getvalue()
