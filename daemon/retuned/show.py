"""Answers of a running daemon as tables in a terminal."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.table import Table

from retuned.screen import visible
from retuned.tell import (
    chain_in_words,
    lease_in_words,
    live_in_words,
    moment,
    probation_in_words,
    recipe_in_words,
    shares_in_words,
    tell,
)
from retuned.tell_contrast import contrast_in_words
from retuned_pipelines.recipe import FOREIGN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

_WIDEST = 200


def show(console: Console, shape: str, found: Mapping[str, Any]) -> None:
    """Show an answer.

    Args:
        console: where to.
        shape: what it is of: ``models``, ``one of models``, ``status``, ...
        found: the answer.
    """
    _TABLES[shape](console, found)


def _show_models(console: Console, found: Mapping[str, Any]) -> None:
    _print(
        console,
        ("model", "task", "champion", "rows", "labelled", "doing", "troubles"),
        (
            (
                m["name"],
                m["task"],
                m["champion"] or "none yet",
                f"{m['rows']:,}",
                f"{m['labelled']:,}",
                _doing(m),
                str(len(m["troubles"]) or ""),
            )
            for m in found["items"]
        ),
    )


def _show_features(console: Console, found: Mapping[str, Any]) -> None:
    gone = set(found["gone"])
    lines = [
        (item["name"], item["kind"], "gone" if item["name"] in gone else "")
        for item in found["features"] or ()
    ]
    _print(console, ("feature", "kind", ""), lines)


def _show_status(console: Console, found: Mapping[str, Any]) -> None:
    decision = found["last_decision"]
    lines = [
        ("model", f"{found['name']} ({found['task']} of {found['target']})"),
        ("metric", found["metric"]),
        ("rows", f"{found['rows']:,}, {found['labelled']:,} with a label"),
        *_kinds(found["features"]),
        *_refused(found["quarantine"]),
        *_delay(found["label_delay"]),
        ("champion", found["champion"] or "none yet"),
        *_lease(found["lease"]),
        *_probation(found["probation"]),
        ("doing", _doing(found)),
        ("studies", str(found["studies"])),
    ]
    if decision is not None:
        told = f"{decision['decision']}: {' '.join(decision['reasons'])}"
        lines.append(("decision", told))
    lines += [
        ("trouble", f"{t['order']} failed {t['attempts']} times: {t['error']}")
        for t in found["troubles"]
    ]
    _print(console, ("", ""), lines)


def _probation(found: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """How the champion does beside the one before it, while that is a question."""
    if found is None:
        return []
    return [("", f"{probation_in_words(found)}, since {moment(found['since'])}")]


def _lease(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    told = lease_in_words(found)
    return [("lease", told)] if told else []


def _kinds(features: Sequence[Mapping[str, str]] | None) -> list[tuple[str, str]]:
    """How many features of each kind there are; nothing before the first row."""
    counts = Counter(item["kind"] for item in features or ())
    told = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    return [("features", told)] if told else []


def _refused(found: Mapping[str, int]) -> list[tuple[str, str]]:
    if not any(found.values()):
        return []
    told = f"{found['rows']:,} rows, {found['labels']:,} labels"
    return [("quarantine", told + (f", {found['dropped']:,} dropped" * bool(found["dropped"])))]


def _delay(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How long labels take, and which never came."""
    told = [
        f"half within {_duration(took['median_s'])}, 9 in 10 within {_duration(took['p90_s'])} {of}"
        for took, of in (
            (found["since_arrival"], "after the row came"),
            (found["since_time"], "after its time"),
        )
        if took is not None
    ]
    lines = [("labels", "; ".join(told))] if told else []
    if found["unlabelled_overdue"] is not None:
        share = "" if found["in_time"] is None else f"; {found['in_time']:.1%} came in time"
        never = f"{found['unlabelled_overdue']:,} rows are older than the horizon"
        lines.append(("no label", never + share))
    return lines


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s"


def _show_versions(console: Console, found: Mapping[str, Any]) -> None:
    _print(
        console,
        ("version", "when", "recipe", "gain", "why"),
        (
            (
                f"{v['number']}{' pinned' * (v['pin'] is not None)}{_role(v)}",
                moment(v["created_at"]),
                _members(v),
                f"{v['verdict']['gain']:+.1%}",
                " ".join(v["verdict"]["reasons"]),
            )
            for v in found["items"]
        ),
    )


def _show_version(console: Console, found: Mapping[str, Any]) -> None:
    verdict = found["verdict"]
    lines = [
        ("version", f"{found['number']}, of study {found['study'] or _origin(found)}"),
        ("verdict", f"{verdict['ruling']}: {' '.join(verdict['reasons'])}"),
        ("evidence", f"{verdict['rows']:,} rows in {verdict['blocks']} blocks"),
        *_pinned(found.get("pin")),
        *_now(found),
    ]
    members = found["members"]
    if len(members) == 1:
        recipe = members[0]["recipe"]
        lines.append(("recipe", recipe_in_words(recipe)))
        lines += [(f"  {name}", _short(value)) for name, value in recipe["params"].items()]
    else:
        lines += [
            (
                "member",
                f"{weight}, {m['weight']:.1%} at the start: {recipe_in_words(m['recipe'])}",
            )
            for weight, m in zip(_weights(found), members, strict=True)
        ]
    lines += [
        (f"revision {r['number']}", f"{moment(r['created_at'])}, {_learned(r)}")
        for r in found["revisions"][-10:]
    ]
    _print(console, ("", ""), lines)


def _origin(version: Mapping[str, Any]) -> str:
    is_imported = any(m["recipe"]["family"] == FOREIGN_FAMILY for m in version["members"])
    return "none (imported)" if is_imported else "none (default recipe)"


def _learned(revision: Mapping[str, Any]) -> str:
    rows = revision["rows"]
    return f"learned from {rows:,} rows" if rows else "it is not known what it learned from"


def _now(version: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a version is now, in words."""
    found, role = version.get("probation"), version.get("role")
    if role == "shadow" and found is not None:
        return [("now", f"in shadow, as {found['shadow']}: version {found['version']} serves")]
    told = "the champion" + (f", {probation_in_words(found)}" if found is not None else "")
    return [("now", told)] if role else []


def _role(version: Mapping[str, Any]) -> str:
    """What a version is now, and whether that is a question still."""
    told = f" {version['role']}" if version["role"] else ""
    on = version["role"] == "champion" and version["probation"] is not None
    return told + ", on probation" * on


def _pinned(pin: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if pin is None:
        return []
    reason = f": {pin['reason']}" if pin["reason"] else ""
    return [("pinned", f"by {pin['who']}, {moment(pin['at'])}{reason}")]


def _show_contrast(console: Console, found: Mapping[str, Any]) -> None:
    _print(console, ("", ""), contrast_in_words(found))


def _show_drifts(console: Console, found: Mapping[str, Any]) -> None:
    _print(
        console,
        ("check", "when", "rows", "alarms"),
        (
            (
                check["id"],
                moment(check["at"]),
                f"{check['rows']:,}",
                ", ".join(
                    f"{a['subject']} ({a['method']} {a['effect']:.2f})" for a in check["alarms"]
                )
                or "no drift",
            )
            for check in found["items"]
        ),
    )


def _show_drift(console: Console, found: Mapping[str, Any]) -> None:
    _print(
        console,
        ("subject", "method", "effect", "floor", "p", "alarm", "note"),
        (
            (
                m["subject"],
                m["method"],
                f"{m['effect']:.3f}",
                f"{m['effect_floor']:g}",
                f"{m['p_value']:.2g}",
                "ALARM" if m["is_alarm"] else "",
                m["note"],
            )
            for m in sorted(found["measurements"], key=lambda m: (not m["is_alarm"], -m["effect"]))
        ),
    )


def _show_studies(console: Console, found: Mapping[str, Any]) -> None:
    _print(
        console,
        ("study", "when", "rows", "ended", "best"),
        (
            (
                s["id"],
                moment(s["started_at"]),
                f"{s['rows']:,}",
                s["stopped"] or "runs",
                ""
                if s["best"] is None
                else f"trial {s['best_trial']}, {recipe_in_words(s['best'])}",
            )
            for s in found["items"]
        ),
    )


def _show_study(console: Console, found: Mapping[str, Any]) -> None:
    _print(
        console,
        ("trial", "origin", "recipe", "score", "train", "gap", "wall s", "CPU s", "MB", "error"),
        (
            (
                str(t["number"]),
                t["origin"],
                recipe_in_words(t["recipe"]),
                _short(t["score"]),
                _short(t["train_score"]),
                _short(t["gap"]),
                f"{t['cost']['wall_s']:.2f}",
                f"{t['cost']['cpu_s']:.2f}",
                f"{t['cost']['peak_mb']:.0f}",
                t["error"],
            )
            for t in found["trials"]
        ),
    )


def _show_events(console: Console, found: Mapping[str, Any]) -> None:
    _print(
        console,
        ("when", "event", "what happened"),
        ((moment(e["at"]), e["kind"], tell(e)) for e in found["items"]),
    )
    if found["source"] == "journal":
        console.print("Redis does not answer: told from the local journal.", highlight=False)


def _show_chain(console: Console, found: Mapping[str, Any]) -> None:
    for line in chain_in_words(found["chain"]):
        console.print(visible(line), highlight=False, markup=False)


def _show_live(console: Console, found: Mapping[str, Any]) -> None:
    _print(console, ("", ""), live_in_words(found))


def _show_quarantine(console: Console, found: Mapping[str, Any]) -> None:
    dropped = f", {found['dropped']:,} dropped" if found["dropped"] else ""
    told = f"{found['rows']:,} rows and {found['labels']:,} labels in quarantine{dropped}."
    console.print(told, highlight=False, markup=False)
    if not found["items"]:
        return
    _print(
        console,
        ("records", "of", "reason"),
        ((f"{r['records']:,}", r["cargo"], r["reason"]) for r in found["reasons"]),
    )
    _print(
        console,
        ("record", "of", "row", "last seen", "times", "reason", "what came"),
        (
            (
                str(item["id"]),
                item["cargo"],
                "" if item["row"] is None else item["row"],
                moment(item["last_seen_at"]),
                str(item["times"]),
                item["reason"],
                _cut(item["record"]),
            )
            for item in found["items"]
        ),
    )


_TABLES = {
    "models": _show_models,
    "one of models": _show_features,
    "status": _show_status,
    "versions": _show_versions,
    "one of versions": _show_version,
    "compare": _show_contrast,
    "drift": _show_drifts,
    "one of drift": _show_drift,
    "studies": _show_studies,
    "one of studies": _show_study,
    "events": _show_events,
    "chain": _show_chain,
    "live": _show_live,
    "quarantine": _show_quarantine,
}


def _print(console: Console, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=None, show_header=any(heads), pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    count = 0
    for row in rows:
        table.add_row(*map(visible, row))
        count += 1
    console.print(table if count else "Nothing yet.", highlight=False, markup=False)


def _doing(model: Mapping[str, Any]) -> str:
    role = model["lease"]["role"]
    if role != "holder":
        holder = model["lease"]["holder"] or "nobody"
        return f"standby of {holder}" if role == "standby" else "suspended: rows are elsewhere"
    return "paused" if model["is_paused"] else ", ".join(model["running"]) or "watching"


def _weights(version: Mapping[str, Any]) -> list[str]:
    """How much each member has to say in the newest revision."""
    if not version["revisions"]:
        return [f"{member['weight']:.1%}" for member in version["members"]]
    return shares_in_words(version["revisions"][-1]["standing"])


def _members(version: Mapping[str, Any]) -> str:
    members = version["members"]
    others = len(members) - 1
    return recipe_in_words(members[0]["recipe"]) + (f" and {others} more" if others else "")


def _short(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _cut(record: object) -> str:
    text = record if isinstance(record, str) else json.dumps(record)
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}..."
