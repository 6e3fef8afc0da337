"""The replay's page: what happened, when, why, and what it cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

import retuned
from retuned.sheet import charts
from retuned.sheet.frame import moment, nothing, page, section, table
from retuned.tell import recipe_in_words, tell
from retuned_pipelines.recipe import Past

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retuned.replay.outcome import Life, Outcome

SHOWN = ("never_refitted", "refit_all", "refit_window")
"""Baselines that are drawn; persistence and constant would flatten the others."""

FEATURES = 20

MEMBERS = 8
"""Members that are drawn with a colour of their own."""


def render(outcome: Outcome, title: str) -> str:
    """One self-contained page.

    Args:
        outcome: of the replay.
        title: the name of the history.
    """
    body = section("Was it worth it?", _policies(outcome)) + section(
        "Loss over time", _losses(outcome)
    )
    for life in outcome.lives:
        name = "" if len(outcome.lives) == 1 else f"{escape(life.name)}: "
        body += (
            section(f"{name}Drift by feature and check", _drift(life))
            + section(f"{name}Weights of the members over time", _weights(life))
            + section(f"{name}How much of the past is learned from", _windows(life))
            + section(f"{name}Where the compute went", _compute(life))
            + section(f"{name}What was decided against, and what that saved", _restraint(life))
            + section(f"{name}Takeovers and verdicts", _verdicts(life))
        )
    return page(f"Replay of {title}", body, version=retuned.__version__)


def _policies(outcome: Outcome) -> str:
    rows = [
        (
            f"<b>{escape(policy.name)}</b>" if policy.name not in _names(outcome) else policy.name,
            f"{policy.loss:.4g}",
            f"{policy.cut(outcome.reference):+.1%}",
            str(policy.fits),
            str(policy.trials),
            str(policy.promotions),
            f"{policy.cpu_s:,.1f}",
        )
        for policy in outcome.policies
    ]
    heads = ("policy", "loss", "cut", "fits", "trials", "promotions", "CPU s")
    note = (
        '<p class="dim">Loss is the error rate or the mean absolute error over all rows after '
        "the bootstrap; the cut is the share of never_refitted's loss that is saved.</p>"
    )
    return table(heads, rows, "") + note


def _names(outcome: Outcome) -> set[str]:
    return {policy.name for policy in outcome.baselines}


def _losses(outcome: Outcome) -> str:
    first, spans = outcome.history.bootstrap, outcome.history.spans
    drawn = [p for p in outcome.policies if p.name in SHOWN or p.name not in _names(outcome)]
    by_period = {
        policy.name: [
            float(policy.losses[start - first : stop - first].mean()) for start, stop in spans
        ]
        for policy in drawn
    }
    so_far = {
        policy.name: [float(policy.losses[: stop - first].mean()) for _, stop in spans]
        for policy in drawn
    }
    return charts.lines(by_period, unit="loss of each period") + charts.lines(
        so_far, unit="mean loss so far"
    )


def _drift(life: Life) -> str:
    if not life.checks:
        return nothing("No check was made.")
    effects: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(life.checks))
    for number, check in enumerate(life.checks):
        for found in check["measurements"]:
            row = effects[found["subject"]]
            if found["is_alarm"]:
                row[number] = max(row[number], min(abs(found["effect"]), 1.0))
    worst = sorted(effects, key=lambda name: -float(np.mean(effects[name])))[:FEATURES]
    unit = "a column a check; the darker the larger the effect, alarms only"
    return charts.cells({name: effects[name] for name in worst}, unit=unit)


def _weights(life: Life) -> str:
    """Who answered, revision by revision."""
    revisions = _revisions(life)
    if not revisions:
        return nothing("No champion served.")
    shares: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(revisions))
    for number, body in enumerate(revisions):
        for recipe, weight in zip(body["recipes"], body["weights"], strict=True):
            shares[recipe_in_words(recipe)][number] += weight
    ranked = sorted(shares, key=lambda name: -float(np.sum(shares[name])))
    drawn = {name: shares[name] for name in ranked[:MEMBERS]}
    if ranked[MEMBERS:]:
        drawn["others"] = np.sum([shares[name] for name in ranked[MEMBERS:]], axis=0).tolist()
    unit = f"share of the answer, {len(revisions)} revisions from left to right"
    return charts.areas(drawn, unit=unit)


def _windows(life: Life) -> str:
    """Rows known, and rows that the members learn from on average."""
    revisions = _revisions(life)
    if len(revisions) <= 1:
        return nothing("The champion was fitted once.")
    known = [float(body["rows"]) for body in revisions]
    used = [
        sum(
            weight * Past(**recipe["past"]).size(body["rows"])
            for recipe, weight in zip(body["recipes"], body["weights"], strict=True)
        )
        for body in revisions
    ]
    series = {"learned from, weighted mean of the members": used, "known": known}
    return charts.lines(series, unit="rows; a point a revision")


def _revisions(life: Life) -> list[Mapping[str, Any]]:
    kinds = {"promoted", "revised"}
    return [event.body for event in life.events if event.kind.value in kinds]


def _compute(life: Life) -> str:
    if not life.cpu_s:
        return nothing("Nothing was fitted.")
    return charts.bars(life.cpu_s, unit="CPU seconds")


def _restraint(life: Life) -> str:
    """What was decided against, by the reason, and what that saved by the run's own ratio."""
    decided = [event.body for event in life.events if event.kind.value == "decided"]
    counts = Counter(str(body["decision"]) for body in decided)
    told = ", ".join(f"{name} {count} times" for name, count in sorted(counts.items()))
    spent = sum(body["effort"] for body in decided if body["decision"] == "refresh")
    each = life.cpu_s.get("refits", 0.0) / spent if spent else 0.0
    rows = []
    for why, bodies in (
        ("Inputs drifted, the loss did not rise: no search", _with(decided, "Inputs drifted")),
        ("The loss rose: a refit, or waiting, instead of a search", _with(decided, "loss (")),
        ("The last fits brought next to nothing: members not refitted", _spared(decided)),
        ("So many rows that a first search waits", _with(decided, "No first study")),
    ):
        saved = [body["saved"] for body in bodies if body["decision"] != "retune"]
        rows.append((why, str(len(saved)), f"{each * sum(saved):,.0f}"))
    note = (
        '<p class="dim">What a search or a fit would have cost by the cost model, in CPU seconds '
        "of this run. Not all of it would have been spent: a search has a cooldown.</p>"
    )
    heads = ("decided against", "times", "CPU s saved at most")
    return f"<p>Decided: {escape(told) or 'nothing at all'}.</p>" + table(heads, rows, "") + note


def _with(decided: Sequence[Mapping[str, Any]], text: str) -> list[Mapping[str, Any]]:
    return [body for body in decided if text in body["reasons"][0]]


def _spared(decided: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Decisions in which some members were not worth a fit."""
    return [
        body
        for body in decided
        if body["saved"]
        and ("worth a new fit" in body["reasons"][0] or "No gain" in body["reasons"][-1])
    ]


def _verdicts(life: Life) -> str:
    kinds = {"verdict", "promoted"}
    rows: Sequence[tuple[str, str, str]] = [
        (moment(event.at), event.kind.value, escape(tell(event.to_json())))
        for event in life.events
        if event.kind.value in kinds
    ]
    return table(("when", "event", "what happened"), rows, "No verdict was given.")
