"""What happened, in a line."""

from __future__ import annotations

from typing import Any

import pytest

from retuned.words.contrast import contrast_in_words
from retuned.words.events import tell
from retuned.words.status import probation_in_words
from retuned_pipelines.recipe import Recipe

RECIPE = Recipe.of("linear", {"alpha": 1.0}).to_json()
TAKEOVER = {"version": 1, "revision": 4, "replaces": "2.3", "recipes": [RECIPE], "weights": [1.0]}
PROBATION = {
    "version": 2,
    "beside": 1,
    "labels": 340,
    "until": 10_000,
    "e_value": 0.7,
    "threshold": 20.0,
    "difference": -0.01,
    "is_worse": False,
}


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        (
            "rolled_back",
            {**TAKEOVER, "who": "ada", "reason": "it was calmer"},
            "to 1.4 from 2.3, by ada: it was calmer",
        ),
        (
            "promoted",
            {**TAKEOVER, "who": "ada", "reason": "because"},
            "version 1 (linear model), by ada: because",
        ),
        ("promoted", TAKEOVER, "version 1 (linear model)"),
        (
            "confirmed",
            {"version": 2, "predecessor": 1, "rows": 10_000},
            "version 2 stays: not found worse than 1 on 10,000 rows",
        ),
        (
            "operator",
            {"action": "promote", "who": "ada", "reason": "x", "version": 3},
            "ada asked to promote version 3: x",
        ),
        (
            "operator",
            {"action": "rollback", "who": "ada", "reason": "x", "version": 1},
            "ada asked to roll back to version 1: x",
        ),
        ("operator", {"action": "pause", "who": "ada", "reason": ""}, "ada asked to pause"),
    ],
)
def test_takeovers_are_told_with_who_and_why(kind: str, body: dict[str, Any], told: str) -> None:
    assert tell({"kind": kind, "body": body}) == told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "no sign of being worse"),
        (
            {"e_value": 5.2, "difference": 0.031},
            "its loss is larger by 0.031 so far (e-value 5.2, it is called worse at 20)",
        ),
        ({"e_value": 5.2}, "so far as good (e-value 5.2, it is called worse at 20)"),
        ({"is_worse": True}, "found worse: version 1 comes back"),
    ],
)
def test_a_probation_is_told_in_plain_words(changes: dict[str, Any], told: str) -> None:
    found = probation_in_words({**PROBATION, **changes})
    assert found == f"on probation beside version 1: 340 of 10,000 labels, {told}"


def test_a_comparison_is_told_line_by_line() -> None:
    side = {"version": 1, "name": "1.4", "is_champion": False}
    learned = {"rows": 600, "first_seq": 1, "last_seq": 1200, "looked_at": 500}
    lone = {
        "recipe": RECIPE,
        "weight": 0.25,
        "closest": RECIPE,
        "differing": {"alpha": {"here": 1.0, "there": None}},
    }
    scored = {
        "metric": "r2",
        "left": 0.5,
        "right": None,
        "gain": None,
        "lower": None,
        "upper": None,
    }
    lines = list(
        contrast_in_words(
            {
                "left": side,
                "right": {**side, "version": 2, "is_champion": True},
                "recipes": {
                    "told": "They differ.",
                    "both": [{"recipe": RECIPE, "left": 0.7, "right": 0.4}],
                    "only_left": [lone],
                    "only_right": [{**lone, "closest": None}],
                },
                "scores": {"told": "No difference.", "metrics": [scored]},
                "drift": {
                    "told": "One of two.",
                    "left": learned,
                    "right": learned,
                    "strongest": [{"name": "x", "method": "ks", "effect": 0.3, "p_value": 1e-9}],
                },
            }
        )
    )
    assert ("  both", "70.0% left, 40.0% right: linear, all rows") in lines
    assert ("", "beside the right one's closest: alpha 1 instead of none") in lines
    assert ("", "r2 0.5 left, none right") in lines
    assert ("", "x: ks 0.30, p 1e-09") in lines
    heads = [head.strip() for head, _ in lines if head]
    assert heads == [
        "left",
        "right",
        "recipes",
        "both",
        "left",
        "right",
        "scores",
        "training data",
    ]
