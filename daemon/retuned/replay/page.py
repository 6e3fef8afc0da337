"""The replay's page: what happened, when, why, and what it cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from html import escape
from typing import TYPE_CHECKING

import numpy as np

import retuned
from retuned.sheet import charts
from retuned.sheet.frame import moment, nothing, page, section, table
from retuned.tell import tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retuned.replay.outcome import Life, Outcome

SHOWN = ("never_refitted", "refit_all", "refit_window")
"""Baselines that are drawn; persistence and constant would flatten the others."""

FEATURES = 20


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
            + section(f"{name}Training window over time", _windows(life))
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


def _windows(life: Life) -> str:
    sizes = [
        float(event.body["rows"])
        for event in life.events
        if event.kind.value in {"promoted", "revised"}
    ]
    if len(sizes) <= 1:
        return nothing("The champion was fitted once.")
    return charts.lines({"rows learned from": sizes}, unit="rows; a point a revision")


def _compute(life: Life) -> str:
    if not life.cpu_s:
        return nothing("Nothing was fitted.")
    return charts.bars(life.cpu_s, unit="CPU seconds")


def _restraint(life: Life) -> str:
    """Checks with alarms that began no study, and what studies would have cost."""
    decided = [event.body for event in life.events if event.kind.value == "decided"]
    counts = Counter(str(body["decision"]) for body in decided)
    against = [b for b in decided if b["decision"] == "nothing" and "rift" in b["reasons"][0]]
    alarmed = [b for b in against if not b["reasons"][0].startswith("No drift")]
    studies = sum(event.kind.value == "study" for event in life.events)
    each = life.cpu_s.get("trials", 0.0) / studies if studies else 0.0
    told = ", ".join(f"{name} {count} times" for name, count in sorted(counts.items()))
    return (
        f"<p>Decided: {escape(told) or 'nothing at all'}.</p>"
        f"<p>{len(alarmed)} checks found drift of the inputs without a rise of the loss. A study "
        f"for each would have cost about {each * len(alarmed):,.0f} CPU seconds more "
        f"(a study took {each:,.1f}).</p>"
    )


def _verdicts(life: Life) -> str:
    kinds = {"verdict", "promoted"}
    rows: Sequence[tuple[str, str, str]] = [
        (moment(event.at), event.kind.value, escape(tell(event.to_json())))
        for event in life.events
        if event.kind.value in kinds
    ]
    return table(("when", "event", "what happened"), rows, "No verdict was given.")
