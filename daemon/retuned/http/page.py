"""HTML of the pages. No script, nothing from elsewhere; everything shown is escaped."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from retuned.sheet import charts
from retuned.sheet.frame import moment, nothing, page, section, table
from retuned.words.events import tell
from retuned.words.recipes import recipe_in_words, shares_in_words
from retuned.words.status import doing_in_words, lease_in_words, probation_in_words
from retuned.words.values import short

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REFRESH_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPage:
    """What the page of a model shows, all in the JSON forms of the API.

    Attributes:
        status: the model's status.
        version: the champion's version; None before there is one.
        revision: and its revision.
        versions: all versions, newest first.
        losses: the newest losses as served, in the order in which labels came.
        checks: the newest checks.
        studies: the newest studies with their trials.
        events: the newest events, newest first.
        away: why the registry's part is missing; "" where it is not.
    """

    status: Mapping[str, Any]
    version: Mapping[str, Any] | None
    revision: Mapping[str, Any] | None
    versions: Sequence[Mapping[str, Any]]
    losses: Sequence[float]
    checks: Sequence[Mapping[str, Any]]
    studies: Sequence[Mapping[str, Any]]
    events: Sequence[Mapping[str, Any]]
    away: str


def overview(models: Sequence[Mapping[str, Any]], *, is_ready: bool, version: str) -> str:
    """The page of all models."""
    rows = [
        (
            f'<a href="/models/{escape(m["name"])}">{escape(m["name"])}</a>',
            escape(m["task"]),
            _champion(m),
            f"{m['rows']:,}",
            f"{m['labelled']:,}",
            _doing(m),
            escape(_decision(m)),
        )
        for m in models
    ]
    heads = ("model", "task", "champion", "rows", "labelled", "doing", "last decision")
    empty = "No model is under care: put a file &lt;name&gt;.env into RETUNED_MODELS_DIR."
    note = "" if is_ready else '<p class="warn">The registry does not answer yet.</p>'
    return page("Models", note + table(heads, rows, empty), version=version, refresh_s=REFRESH_S)


def model(shown: ModelPage, *, version: str) -> str:
    """The page of one model."""
    name = escape(shown.status["name"])
    away = f'<p class="warn">{escape(shown.away)}</p>' if shown.away else ""
    troubles = "".join(
        f'<p class="warn">{escape(t["order"])} failed {t["attempts"]} times: '
        f"{escape(t['error'])}</p>"
        for t in shown.status["troubles"]
    )
    parts = (
        f'<p><a href="/">Models</a> / {name}</p>',
        away + _lease(shown.status) + troubles,
        _cards(shown),
        _ensemble(shown),
        section("Loss as served", charts.line(shown.losses)),
        section("Studies", "".join(map(_study, shown.studies)) or nothing("No study yet.")),
        section("Checks", _checks(shown)),
        section("Versions", _versions(shown.versions)),
        section("Events", _events(shown.events)),
    )
    return page(shown.status["name"], "".join(parts), version=version, refresh_s=REFRESH_S)


def docs(openapi: Mapping[str, Any], *, version: str) -> str:
    """The list of routes."""
    rows = [
        (f"<code>{method.upper()}</code>", f"<code>{escape(path)}</code>", escape(item["summary"]))
        for path, methods in openapi["paths"].items()
        for method, item in methods.items()
    ]
    more = '<p>Machine-readable: <a href="/openapi.json">/openapi.json</a></p>'
    body = f"<p>{escape(openapi['info']['description'])}</p>" + more
    return page(
        "API", body + table(("", "path", "what"), rows, ""), version=version, refresh_s=REFRESH_S
    )


def _cards(shown: ModelPage) -> str:
    status = shown.status
    recipe = "none yet" if shown.version is None else _members(shown.version)
    learned = "" if shown.revision is None else f"learned from {shown.revision['rows']:,} rows"
    items = (
        ("Champion", _champion(status), f"{recipe}<br>{learned}{_probation(status)}"),
        ("Rows", f"{status['rows']:,}", _labelled(status)),
        (
            "Metric",
            escape(status["metric"]).replace("_", "_<wbr>"),
            escape(f"{status['task']} of {status['target']}"),
        ),
        (
            "Doing",
            _doing(status),
            escape(_decision(status)) or "no decision yet",
        ),
    )
    cards = "".join(
        f'<div class="card"><h3>{head}</h3><p class="big">{big}</p><p>{small}</p></div>'
        for head, big, small in items
    )
    return f'<div class="cards">{cards}</div>'


def _probation(status: Mapping[str, Any]) -> str:
    found = status["probation"]
    return "" if found is None else f"<br>{escape(probation_in_words(found))}"


def _labelled(status: Mapping[str, Any]) -> str:
    told = f"{status['labelled']:,} with a label"
    refused = status["quarantined"]
    return told + (f"<br>{refused:,} refused, in quarantine" if refused else "")


def _study(study: Mapping[str, Any]) -> str:
    trials = study["trials"]
    state = study["stopped"] or f"running, {len(trials)} of {study['planned']} trials"
    head = (
        f"<h3>{escape(study['id'])} <small>{moment(study['started_at'])}, "
        f"{study['rows']:,} rows, {escape(state)}</small></h3>"
    )
    # What learned from a share of the rows is no scale for the others.
    whole = [t for t in trials if t["score"] is not None and t["share"] == 1]
    best = sorted(whole, key=lambda t: -t["score"])[:5]
    rows = [
        (
            str(trial["number"]),
            escape(trial["origin"]),
            _recipe(trial),
            f"{trial['score']:.4g}",
            "" if trial["gap"] is None else f"{trial['gap']:.3g}",
            f"{trial['cost']['wall_s']:.1f}",
            f"{trial['cost']['cpu_s']:.1f}",
            f"{trial['cost']['peak_mb']:.0f}",
        )
        for trial in best
    ]
    heads = ("trial", "origin", "recipe", "score", "gap", "wall s", "CPU s", "peak MB")
    return head + charts.trials(trials) + table(heads, rows, "No trial yet.")


def _ensemble(shown: ModelPage) -> str:
    """The members and their weights, where there are several."""
    if shown.version is None or shown.revision is None or len(shown.version["members"]) == 1:
        return ""
    members, standing = shown.version["members"], shown.revision["standing"]
    found = zip(members, shares_in_words(standing), standing["weights"], strict=True)
    rows = [
        (_recipe(member), told, f"{member['weight']:.1%}")
        for member, told, _ in sorted(found, key=lambda row: -float(row[2]))
    ]
    return section("Members", table(("recipe", "weight", "at the start"), rows, ""))


def _checks(shown: ModelPage) -> str:
    name = escape(shown.status["name"])
    rows = [
        (
            escape(check["id"]),
            moment(check["at"]),
            f"{check['rows']:,}",
            "<br>".join(
                f"{escape(a['subject'])} <small>{escape(a['method'])} {a['effect']:.2f}</small>"
                for a in check["alarms"][:4]
            )
            or "no drift",
            f'<a href="/v1/models/{name}/drift/{escape(check["id"])}/report">report</a>',
        )
        for check in shown.checks
    ]
    return table(("check", "when", "rows", "alarms", ""), rows, "No check yet.")


def _versions(versions: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            str(version["number"]),
            moment(version["created_at"]),
            _members(version),
            f"{version['verdict']['gain']:+.1%}",
            escape(" ".join(version["verdict"]["reasons"])),
        )
        for version in versions
    ]
    return table(("version", "when", "recipe", "gain", "why"), rows, "No version yet.")


def _events(events: Sequence[Mapping[str, Any]]) -> str:
    rows = [(moment(event["at"]), escape(event["kind"]), escape(tell(event))) for event in events]
    return table(("when", "event", "what happened"), rows, "No event yet.")


def _members(version: Mapping[str, Any]) -> str:
    members = version["members"]
    others = len(members) - 1
    return _recipe(members[0]) + (f" and {others} more" if others else "")


def _recipe(holder: Mapping[str, Any]) -> str:
    recipe = holder["recipe"]
    settings = ", ".join(f"{name}={short(value)}" for name, value in recipe["params"].items())
    return f'<span title="{escape(settings)}">{escape(recipe_in_words(recipe))}</span>'


def _champion(status: Mapping[str, Any]) -> str:
    return escape(status["champion"] or "none yet")


def _lease(status: Mapping[str, Any]) -> str:
    found = lease_in_words(status["lease"])
    return f'<p class="warn">{escape(found[:1].upper() + found[1:])}.</p>' if found else ""


def _doing(status: Mapping[str, Any]) -> str:
    failing = len(status["troubles"])
    return escape(doing_in_words(status)) + (
        f' <span class="warn">{failing} failing</span>' if failing else ""
    )


def _decision(status: Mapping[str, Any]) -> str:
    decision = status["last_decision"]
    return "" if decision is None else f"{decision['decision']}: {' '.join(decision['reasons'])}"
