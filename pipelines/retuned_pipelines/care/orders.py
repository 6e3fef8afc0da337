"""Orders: what the care of a model wants done.

Every order can be carried out again from its own values: a daemon that was killed
repeats what was in flight, and the results are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from retuned_pipelines.recipe import Recipe
from retuned_pipelines.version import Member, Revision, Shadow, Standing, Version
from retuned_pipelines.weights import serving


@dataclass(frozen=True, slots=True)
class Boundary:
    """The newest row that something has learned from, in a window's order.

    Attributes:
        time: microseconds since the epoch.
        seq: sequence number.
    """

    time: int
    seq: int


BEGINNING = Boundary(-(2**63), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Compare the rows since the last check with what the champion learned from.

    Attributes:
        id: of the order, and of the drift report.
        as_of: newest sequence number to look at.
        since_seq: sequence number of the last check; newer rows are the current ones.
        version: number of the champion's version, whose losses are compared.
        learned_until: newest sequence number that the champion's revision knew.
        learned_rows: labelled rows that it learned from.
    """

    kind: Literal["measure"] = "measure"
    id: str
    as_of: int
    since_seq: int
    version: int
    learned_until: int
    learned_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Search for a better recipe.

    Attributes:
        id: of the order, and of the study.
        as_of: newest sequence number to look at.
        champion: the recipes to try right after the families' defaults.
        changed_seq: see `Refit`.
        finds: what earlier studies put forward, to try after those.
    """

    kind: Literal["study"] = "study"
    id: str
    as_of: int
    champion: tuple[Recipe, ...]
    changed_seq: int = 0
    finds: tuple[Recipe, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Compare two procedures on rows that nothing has learned from.

    Attributes:
        id: of the order.
        as_of: newest sequence number to look at.
        challenger: what wants the crown.
        rival: what it is compared with.
        rival_name: ``champion``, or ``constant`` where nothing serves yet.
        study: id of the study that found the challenger; "" for a default.
        boundary: the newest row that the study has used.
        champion: members of the champion with their weights; where there are several, the
            challenger is compared as one more of them.
        rows: labelled rows that are looked at, at most; the newest ones.
        changed_seq: see `Refit`.
        number: which challenger of the reign it is, from 1; it says how certain the gate has to
            be (`evaluate.spending`). 0 where nothing reigns yet.
        default: recipe that the challenger must not be worse than in its place; None where it is
            that recipe itself.
        rival_artifact: SHA-256 of what the rival answers with, where it was imported and so
            cannot be fitted; else "".
    """

    kind: Literal["judge"] = "judge"
    id: str
    as_of: int
    challenger: Recipe
    rival: Recipe
    rival_name: str
    study: str
    boundary: Boundary
    champion: tuple[Member, ...] = ()
    rows: int
    changed_seq: int = 0
    number: int = 0
    default: Recipe | None = None
    rival_artifact: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """Fit members of a version on everything known as of a sequence number, and score them all.

    Attributes:
        id: of the order.
        as_of: newest sequence number to look at.
        version: the version to fit; a new one, or the champion's.
        labelled: labelled rows that were known by then.
        members: positions of the members to fit; the others keep their artifacts.
        serving: the revision that serves; None where the version is new.
        changed_seq: newest sequence number before the last detected change; 0 for none.
        wants_elder: whether to tell what the last fits brought, too.
        shadow: the champion before, which is refitted likewise; None for none. Where the version
            is new, it is the one that still serves.
        shadow_members: positions of its members to fit for it alone; it shares the other fits.
        compared: newest sequence number of labels on which both were compared already.
    """

    kind: Literal["refit"] = "refit"
    id: str
    as_of: int
    version: Version
    labelled: int
    members: tuple[int, ...]
    serving: Revision | None = None
    changed_seq: int = 0
    wants_elder: bool = False
    shadow: Shadow | None = None
    shadow_members: tuple[int, ...] = ()
    compared: int = 0

    @property
    def standing(self) -> Standing | None:
        """How the version's members stand; None where all are fitted for the first time."""
        return None if self.serving is None else self.serving.standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Why a version that is known takes over without the gate.

    Attributes:
        who: who asked.
        reason: why.
        is_rollback: whether it is the return of a champion's predecessor.
        evidence: what was measured (`evaluate.sequential.Finding`); {} where an operator says so.
        at: when that was said, seconds since the epoch.
    """

    who: str
    reason: str
    is_rollback: bool
    evidence: Mapping[str, Any] = field(default_factory=dict)
    at: float = 0.0

    @property
    def is_by_operator(self) -> bool:
        """Whether somebody asked for it."""
        return not self.evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Make a revision the one that answers requests.

    Attributes:
        id: of the order.
        version: its version.
        revision: the revision with its artifacts.
        expected: name (``n.r``) of the champion that it replaces; "" for none.
        labelled: labelled rows that were known to the fit.
        shadow: who stays beside it, refitted likewise; None for nobody.
        recall: why it takes over, where it was not the gate that said so.
    """

    kind: Literal["publish"] = "publish"
    id: str
    version: Version
    revision: Revision
    expected: str
    labelled: int
    shadow: Shadow | None = None
    recall: Recall | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelve:
    """Keep a version in the registry without letting it serve.

    Attributes:
        id: of the order.
        version: what to keep.
        revision: its only revision.
        who: who brought it.
        reason: why.
    """

    kind: Literal["shelve"] = "shelve"
    id: str
    version: Version
    revision: Revision
    who: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Write an event, together with persisting the state, so that it is never repeated.

    Attributes:
        event: the event's kind.
        body: what happened.
        key: set where the registry writes the same event in the transaction of the change
            that it tells of; the event's id is made of it, so that it counts once.
    """

    kind: Literal["notify"] = "notify"
    event: str
    body: Mapping[str, Any]
    key: str = ""


def announcement(order: Publish) -> Notify:
    """Tell of a takeover or a refit, in the same words in the registry and the journal."""
    version, revision = order.version, order.revision
    body: dict[str, Any] = {
        "version": version.number,
        "revision": revision.number,
        "replaces": order.expected,
        "rows": revision.rows,
        "recipes": [member.recipe.to_json() for member in version.members],
        "weights": [round(weight, 4) for weight in serving(revision.standing)],
    }
    key = _key(order)
    recall = order.recall
    if recall is not None:
        body |= {"who": recall.who, "reason": recall.reason}
        body |= {"evidence": dict(recall.evidence)} if recall.evidence else {}
        return Notify(event="rolled_back" if recall.is_rollback else "promoted", body=body, key=key)
    if revision.number > 1:
        return Notify(event="revised", body=body, key=key)
    body |= {
        "study": version.study,
        "gain": version.verdict.gain,
        "lower": version.verdict.lower,
        "reasons": list(version.verdict.reasons),
    }
    return Notify(event="promoted", body=body, key=key)


def shelving(order: Shelve) -> Notify:
    """Tell of a version that came from elsewhere, in the registry and the journal alike."""
    (member,) = order.version.members
    body = {
        "version": order.version.number,
        "revision": order.revision.number,
        "recipe": member.recipe.to_json(),
        "who": order.who,
        "reason": order.reason,
    }
    return Notify(event="imported", body=body, key=_key(order))


def _key(order: Publish | Shelve) -> str:
    # Orders are counted from 1 again after the state directory was lost; moments are not. A
    # revision that is recalled took over before, perhaps by an order of the same number.
    recall = order.recall if isinstance(order, Publish) else None
    at = order.revision.created_at if recall is None or not recall.at else recall.at
    return f"{order.id}-{round(at * 1000):x}"


Work = Measure | Study | Judge | Refit | Publish | Shelve
Order = Work | Notify
