"""A model's versions as tables in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retuned.screen import put_table
from retuned.words.recipes import recipe_in_words, shares_in_words
from retuned.words.status import probation_in_words
from retuned.words.values import moment, short
from retuned_pipelines.recipe import FOREIGN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console


def show_versions(console: Console, found: Mapping[str, Any]) -> None:
    """The versions of a model, one a line."""
    put_table(
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


def show_version(console: Console, found: Mapping[str, Any]) -> None:
    """One version, with its members and revisions."""
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
        lines += [(f"  {name}", short(value)) for name, value in recipe["params"].items()]
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
    put_table(console, ("", ""), lines)


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


def _weights(version: Mapping[str, Any]) -> list[str]:
    """How much each member has to say in the newest revision."""
    if not version["revisions"]:
        return [f"{member['weight']:.1%}" for member in version["members"]]
    return shares_in_words(version["revisions"][-1]["standing"])


def _members(version: Mapping[str, Any]) -> str:
    members = version["members"]
    others = len(members) - 1
    return recipe_in_words(members[0]["recipe"]) + (f" and {others} more" if others else "")
