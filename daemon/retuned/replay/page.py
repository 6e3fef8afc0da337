"""The replay's page: what happened, when, why, and what it cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

import retuned
from retuned.replay.answers import (
    Answers,
    dates,
    is_dated,
    kind_of_past,
    learned_from,
    told_day,
    told_moments,
)
from retuned.sheet import charts
from retuned.sheet.frame import moment, nothing, page, section, table
from retuned.words.events import tell
from retuned.words.recipes import identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retuned.replay.history import History
    from retuned.replay.outcome import Life, Outcome

SHOWN = ("never_refitted", "refit_all", "refit_window")
"""Baselines that are drawn; persistence and constant would flatten the others."""

FEATURES = 20

DRAWN = 7
"""Members with a colour of their own; the others share one."""

PURPOSES = {
    "refits": "fits to serve",
    "trials": "trials of searches",
    "gate": "gates",
    "watching": "watching",
}
"""What compute was used for, in words."""

CHOICES = {"refresh": "a refit", "retune": "a search", "nothing": "nothing"}


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
        answers = Answers.of(life, outcome.history)
        body += (
            section(f"{name}Drift by feature and check", _drift(life, outcome.history))
            + section(f"{name}Weights of the members over time", _weights(answers))
            + section(f"{name}How much of the past is learned from", _windows(answers))
            + section(f"{name}Where the compute went", _compute(life))
            + section(f"{name}What was decided against, and what that saved", _restraint(life))
            + section(f"{name}Takeovers and verdicts", _verdicts(life, outcome.history))
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
            f"{policy.cpu_s:,.1f}",
            str(policy.promotions),
        )
        for policy in outcome.policies
    ]
    heads = ("policy", "loss", "cut", "fits", "trials", "CPU s", "promotions")
    note = (
        '<p class="dim">Loss is the error rate or the mean absolute error over all rows after '
        "the bootstrap; the cut is the share of never_refitted's loss that is saved.</p>"
    )
    told = [f"{outcome.worth(life.policy)} {outcome.silence(life)}" for life in outcome.lives]
    worth = "".join(f"<p>{escape(line.rstrip())}</p>" for line in told)
    return worth + table(heads, rows, "") + note


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
    below = dates(outcome.history)
    marks = {
        number: _change(before, now)
        for life in outcome.lives
        for number, (before, now) in enumerate(pairwise(map(_version, life.champions)), 1)
        if before != now
    }
    return charts.lines(
        by_period, unit="Loss of each period", dates=below, marks=marks
    ) + charts.lines(so_far, unit="Mean loss so far", dates=below)


def _version(name: str) -> int:
    """The version's number in ``n.r``; 0 for ""."""
    return int(name.partition(".")[0] or 0)


def _change(before: int, now: int) -> str:
    return "a new version takes over" if now > before else f"version {now} comes back"


def _drift(life: Life, history: History) -> str:
    if not life.checks:
        return nothing("No check was made.")
    effects: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(life.checks))
    for number, check in enumerate(life.checks):
        for found in check["measurements"]:
            row = effects[found["subject"]]
            if found["is_alarm"]:
                row[number] = max(row[number], min(abs(found["effect"]), 1.0))
    worst = sorted(effects, key=lambda name: -float(np.mean(effects[name])))
    shown = {name: effects[name] for name in worst if any(effects[name])}
    if not shown:
        return nothing(f"{len(life.checks)} checks found no drift.")
    calm = len(effects) - len(shown)
    unit = (
        f"A column for each of {len(life.checks)} checks; the stronger the larger the effect, "
        f"alarms only" + (f"; {calm} others never drifted" if calm else "")
    )
    some = dict(list(shown.items())[:FEATURES])
    below = told_moments(history, [check["at"] for check in (life.checks[0], life.checks[-1])])
    return charts.cells(some, unit=unit, dates=below if len(life.checks) > 1 else below[:1])


def _weights(answers: Answers) -> str:
    """Who answered, period by period."""
    shares = answers.shares(lambda recipe: answers.names[identity(recipe)])
    if not shares:
        return nothing("No champion served.")
    most = DRAWN if len(shares) > DRAWN + 1 else len(shares)
    drawn = {answers.until(name, shares[name]): shares[name] for name in list(shares)[:most]}
    rest = list(shares.values())[most:]
    if rest:
        drawn[f"{len(rest)} others"] = np.sum(rest, axis=0).tolist()
    unit = (
        "Share of each period's answers; † since when a member answers no more: retired, or with "
        "too little weight to be asked"
    )
    return charts.areas(drawn, unit=unit, dates=answers.dates)


def _windows(answers: Answers) -> str:
    """Rows known, rows that the members learn from on average, and from which past."""
    if not any(body is not None for body in answers.bodies):
        return nothing("No champion served.")
    series = {
        "learned from, mean of the members by weight": answers.mean(learned_from),
        "rows known": answers.mean(lambda _, rows: float(rows)),
    }
    unit = "Labelled rows; where old ones count less, the sum of what they count"
    by_past = charts.areas(
        answers.shares(kind_of_past),
        unit="Share of each period's answers by the past that is learned from",
        dates=answers.dates,
    )
    return charts.lines(series, unit=unit, dates=answers.dates, from_zero=True) + by_past


def _compute(life: Life) -> str:
    if not life.cpu_s:
        return nothing("Nothing was fitted.")
    total = sum(life.cpu_s.values())
    ranked = sorted(life.cpu_s.items(), key=lambda item: -item[1])
    return charts.bars(
        {PURPOSES.get(name, name): spent for name, spent in ranked},
        unit=f"CPU seconds, {total:,.1f} together; watching is the daemon's own process: checks, "
        "scores, weights",
    )


def _restraint(life: Life) -> str:
    """What was decided against, by the reason, and what that saved by the run's own ratio."""
    decided = [event.body for event in life.events if event.kind.value == "decided"]
    counts = Counter(str(body["decision"]) for body in decided)
    told = ", ".join(
        f"{text} {_times(counts[name])}" for name, text in CHOICES.items() if counts[name]
    )
    effort = sum(body["effort"] for body in decided if body["decision"] == "refresh")
    each = life.cpu_s.get("refits", 0.0) / effort if effort else 0.0
    rows, total = [], 0.0
    for why, bodies in (
        ("Inputs drifted, the loss did not rise: no search", _with(decided, "Inputs drifted")),
        ("The loss rose: a refit, or waiting, instead of a search", _with(decided, "loss (")),
        ("The last fits brought next to nothing: members not refitted", _spared(decided)),
        ("So many rows that a first search waits", _with(decided, "No first study")),
    ):
        saved = [body["saved"] for body in bodies if body["decision"] != "retune"]
        total += sum(saved)
        if saved:
            rows.append((why, str(len(saved)), *_cost(sum(saved), each)))
    if len(rows) > 1:
        rows.append(("together", "", *_cost(total, each)))
    note = (
        '<p class="dim">What the searches and fits would have cost by the cost model: rows, each '
        "as dear as one of LightGBM's default fit"
        + (
            f", which cost {1e6 * each:.1f} CPU s a million in this run's refits. "
            if each
            else ". "
        )
        + "Not all would have been spent: a search has a cooldown."
        + _searches(life, counts["retune"])
        + "</p>"
    )
    heads = ("decided against", "times", "million rows", "CPU s saved at most")
    empty = "Nothing was decided against."
    return f"<p>Decided: {escape(told) or 'nothing at all'}.</p>" + table(heads, rows, empty) + note


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _cost(effort: float, each: float) -> tuple[str, str]:
    return f"{effort / 1e6:,.2f}", f"{each * effort:,.1f}" if each else "unknown: no refit"


def _searches(life: Life, count: int) -> str:
    if not count:
        return ""
    spent = life.cpu_s.get("trials", 0.0) + life.cpu_s.get("gate", 0.0)
    made = "search that was made" if count == 1 else f"{count} searches that were made"
    return f" The {made} cost {spent:,.1f} CPU s, all gates included."


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


def _verdicts(life: Life, history: History) -> str:
    kinds = {"verdict", "promoted", "rolled_back", "confirmed"}
    rows: Sequence[tuple[str, str, str]] = [
        (_when(event.at, history), event.kind.value, escape(tell(event.to_json())))
        for event in life.events
        if event.kind.value in kinds
    ]
    return table(("when", "event", "what happened"), rows, "No verdict was given.")


def _when(at: float, history: History) -> str:
    return moment(at) if is_dated(history) else told_day(history, at)
