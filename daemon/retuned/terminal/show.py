"""Answers of a running daemon as tables in a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from retuned.screen import put_table, visible
from retuned.terminal.status import show_features, show_models, show_status
from retuned.terminal.versions import show_version, show_versions
from retuned.words.contrast import contrast_in_words
from retuned.words.events import tell
from retuned.words.history import chain_in_words, live_in_words
from retuned.words.recipes import origin_in_words, recipe_in_words
from retuned.words.values import moment, short

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def _show_contrast(console: Console, found: Mapping[str, Any]) -> None:
    put_table(console, ("", ""), contrast_in_words(found))


def _show_drifts(console: Console, found: Mapping[str, Any]) -> None:
    put_table(
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
    put_table(
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
    put_table(
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
    put_table(
        console,
        ("trial", "origin", "recipe", "score", "train", "gap", "wall s", "CPU s", "MB", "error"),
        (
            (
                str(t["number"]),
                origin_in_words(t),
                recipe_in_words(t["recipe"]),
                short(t["score"], none=""),
                short(t["train_score"], none=""),
                short(t["gap"], none=""),
                f"{t['cost']['wall_s']:.2f}",
                f"{t['cost']['cpu_s']:.2f}",
                f"{t['cost']['peak_mb']:.0f}",
                t["error"],
            )
            for t in found["trials"]
        ),
    )


def _show_events(console: Console, found: Mapping[str, Any]) -> None:
    put_table(
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
    put_table(console, ("", ""), live_in_words(found))


def _show_quarantine(console: Console, found: Mapping[str, Any]) -> None:
    dropped = f", {found['dropped']:,} dropped" if found["dropped"] else ""
    told = f"{found['rows']:,} rows and {found['labels']:,} labels in quarantine{dropped}."
    console.print(told, highlight=False, markup=False)
    if not found["items"]:
        return
    put_table(
        console,
        ("records", "of", "reason"),
        ((f"{r['records']:,}", r["cargo"], r["reason"]) for r in found["reasons"]),
    )
    put_table(
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
    "models": show_models,
    "one of models": show_features,
    "status": show_status,
    "versions": show_versions,
    "one of versions": show_version,
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


def _cut(record: object) -> str:
    text = record if isinstance(record, str) else json.dumps(record)
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}..."
