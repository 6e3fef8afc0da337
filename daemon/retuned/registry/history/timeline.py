"""Which version was live at a moment, why, and on what evidence: told from the events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from retuned.registry.history.events import REIGNING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retuned.registry.history.archive import Archive
    from retuned.registry.history.events import Event

_TAKEOVERS = ("promoted", "rolled_back")
_NO_REASON = {"pause", "resume"}

_LOOKED_AT = 200
"""Events of a kind that are looked at, to find the one that belongs to another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What answered at a moment.

    Attributes:
        model: whose.
        at: the moment, seconds since the epoch.
        made: the event that made it champion; None where nobody was, or nobody knows.
        promotion: the event that made its version champion.
        decided: the decision that led to ``made``; None where none is told.
        operator: what an operator asked for that led to it; None for nothing.
        verdict: the gate's on its version; None where it is not kept.
        before: the event that made champion what it replaced; None for nobody.
        after: the event of the next change; None where it is the newest.
        known_since: time of the oldest event that is kept; None for none.
        is_whole: whether nothing of the history was let go.
    """

    model: str
    at: float
    made: Event | None = None
    promotion: Event | None = None
    decided: Event | None = None
    operator: Event | None = None
    verdict: Event | None = None
    before: Event | None = None
    after: Event | None = None
    known_since: float | None = None
    is_whole: bool = True

    def to_json(self) -> dict[str, Any]:
        """JSON form, with what matters said in front of the events."""
        made, after, before = self.made, self.after, self.before
        return {
            "model": self.model,
            "at": self.at,
            "champion": None if made is None else name_of(made),
            "since": None if made is None else made.at,
            "until": None if after is None else after.at,
            "why": self._why(),
            "evidence": self._evidence(),
            "predecessor": None if before is None else name_of(before),
            "successor": None if after is None else name_of(after),
            "known_since": self.known_since,
            "is_whole": self.is_whole,
            "events": {
                name: None if event is None else event.to_json()
                for name, event in (
                    ("made", made),
                    ("promotion", self.promotion),
                    ("decided", self.decided),
                    ("operator", self.operator),
                    ("verdict", self.verdict),
                    ("before", before),
                    ("after", after),
                )
            },
        }

    def _why(self) -> list[str]:
        if self.made is None:
            return []
        said = []
        body = self.made.body
        if "who" in body:
            said.append(f"{body['who']}: {body['reason'] or 'no reason given'}")
        elif self.operator is not None:
            asked = self.operator.body
            reason = asked["reason"] or "no reason given"
            said.append(f"{asked['who']} asked to {asked['action']}: {reason}")
        if self.decided is not None:
            said += [str(reason) for reason in self.decided.body["reasons"]]
        said += [str(reason) for reason in body.get("reasons", ())]
        if self.made.kind == "revised" and not said:
            said.append(f"It was refitted on {body['rows']:,} rows as labels came.")
        if self.made.kind == "restored":
            said.append("The registry had lost it, or held another that did not verify.")
        return said

    def _evidence(self) -> dict[str, Any] | None:
        """The gate's verdict on the version, or what an automatic rollback was based on."""
        promotion = self.promotion
        if promotion is not None and promotion.body.get("evidence"):
            return dict(promotion.body["evidence"])
        return None if self.verdict is None else dict(self.verdict.body["verdict"])


def live_at(archive: Archive, model: str, at: float) -> Live:
    """Find out what was live.

    Args:
        archive: the events.
        model: whose.
        at: seconds since the epoch.

    Raises:
        RetunedError: the journal failed.
    """
    oldest = archive.oldest(model)
    blank = Live(
        model=model,
        at=at,
        known_since=None if oldest is None else oldest.at,
        is_whole=archive.checkpoint(model) is None,
    )
    after = _named(archive.since(model, REIGNING, at, _LOOKED_AT))
    found = _named(archive.until(model, REIGNING, at, _LOOKED_AT))
    if not found:
        return replace(blank, after=after[0] if after else None)
    name = name_of(found[0])
    others = [n for n, event in enumerate(found) if name_of(event) != name]
    made = found[others[0] - 1] if others else found[-1]
    before = found[others[0]] if others else None
    taken = [
        event
        for event in _named(archive.until(model, _TAKEOVERS, made.at, _LOOKED_AT))
        if event.body["version"] == made.body["version"]
    ]
    return replace(
        blank,
        made=made,
        promotion=taken[0] if taken else None,
        decided=_lately(archive, "decided", made, before),
        operator=_lately(archive, "operator", made, before),
        verdict=next((_verdict(archive, one) for one in taken if "study" in one.body), None),
        before=before,
        # One that was put back is no change.
        after=next((event for event in after if name_of(event) != name), None),
    )


def name_of(event: Event) -> str:
    """Whom an event made champion (``n.r``)."""
    return f"{event.body['version']}.{event.body['revision']}"


def _named(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if "version" in event.body and "revision" in event.body]


def _lately(archive: Archive, kind: str, made: Event, before: Event | None) -> Event | None:
    """The newest event of a kind that came between two champions."""
    since = float("-inf") if before is None else before.at
    for event in archive.until(made.model, [kind], made.at, _LOOKED_AT):
        if event.at <= since:
            break
        if event.body.get("decision") != "nothing" and event.body.get("action") not in _NO_REASON:
            return event
    return None


def _verdict(archive: Archive, promotion: Event) -> Event | None:
    """The verdict on the study that found a version."""
    study = promotion.body["study"]
    found = archive.until(promotion.model, ["verdict"], promotion.at, _LOOKED_AT)
    return next((event for event in found if event.body["study"] == study), None)
