"""How models are, as tables in a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from retuned.screen import put_table
from retuned.words.status import doing_in_words, lease_in_words, probation_in_words
from retuned.words.values import moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console


def show_models(console: Console, found: Mapping[str, Any]) -> None:
    """All models, one a line."""
    put_table(
        console,
        ("model", "task", "champion", "rows", "labelled", "doing", "troubles"),
        (
            (
                m["name"],
                m["task"],
                m["champion"] or "none yet",
                f"{m['rows']:,}",
                f"{m['labelled']:,}",
                doing_in_words(m),
                str(len(m["troubles"]) or ""),
            )
            for m in found["items"]
        ),
    )


def show_features(console: Console, found: Mapping[str, Any]) -> None:
    """What is known of a model's features."""
    gone = set(found["gone"])
    lines = [
        (item["name"], item["kind"], "gone" if item["name"] in gone else "")
        for item in found["features"] or ()
    ]
    put_table(console, ("feature", "kind", ""), lines)


def show_status(console: Console, found: Mapping[str, Any]) -> None:
    """How one model is."""
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
        ("doing", doing_in_words(found)),
        ("studies", str(found["studies"])),
    ]
    if decision is not None:
        told = f"{decision['decision']}: {' '.join(decision['reasons'])}"
        lines.append(("decision", told))
    lines += [
        ("trouble", f"{t['order']} failed {t['attempts']} times: {t['error']}")
        for t in found["troubles"]
    ]
    put_table(console, ("", ""), lines)


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
