"""Facts: what the shell tells the care of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from retuned_pipelines.care.orders import Boundary
from retuned_pipelines.drift.report import DriftReport
from retuned_pipelines.evaluate.verdict import Verdict
from retuned_pipelines.provenance import Provenance
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.search.trial import Cost
from retuned_pipelines.version import Beside, Came, Revision, Version

Action = Literal["retune", "pause", "resume", "promote", "rollback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """The row log grew. Counts are totals, so that a lost or repeated fact does no harm.

    Attributes:
        now: seconds since the epoch.
        last_seq: newest sequence number.
        rows: rows in the log.
        labelled: rows whose labels are known.
    """

    now: float
    last_seq: int
    rows: int
    labelled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked:
    """The model's schedule came due."""

    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """An operator asked for something.

    Attributes:
        now: seconds since the epoch.
        action: what.
        who: who asked.
        reason: why.
        version: what is to be champion, where one is to be promoted or comes back.
        revision: its newest revision, whose artifacts are there.
    """

    now: float
    action: Action
    who: str
    reason: str
    version: Version | None = None
    revision: Revision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A check finished."""

    now: float
    order: str
    report: DriftReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Studied:
    """A study finished.

    Attributes:
        now: seconds since the epoch.
        order: id of the order.
        best: the recipe that it would have; None where every trial failed.
        trials: trials recorded.
        stopped: why it ended, in plain words.
        boundary: the newest row that the study has used.
        cost: all trials together.
        finds: what the next studies should try, the best first.
    """

    now: float
    order: str
    best: Recipe | None
    trials: int
    stopped: str
    boundary: Boundary
    cost: Cost
    finds: tuple[Recipe, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The gate gave its verdict.

    Attributes:
        now: seconds since the epoch.
        order: id of the order.
        verdict: promoted or refused, and why.
        cost: of all fits.
        classes: how many were seen; 1 for two, and for numbers.
    """

    now: float
    order: str
    verdict: Verdict
    cost: Cost
    classes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Refitted:
    """The artifacts of a version, and what they were fitted on.

    Attributes:
        artifacts: SHA-256 of each member's artifact, in the members' order; also of those that
            were not fitted anew.
        predict_ms: milliseconds that each member takes for a row; 0 where it was not measured.
        rows: labelled rows learned from.
        first_seq: smallest sequence number among those.
        last_seq: largest sequence number among those.
        first_time: the oldest time among those, microseconds since the epoch.
        last_time: the newest time among those.
        provenance: from what each member was fitted, in the members' order.
    """

    artifacts: tuple[str, ...]
    predict_ms: tuple[float, ...]
    rows: int
    first_seq: int
    last_seq: int
    first_time: int = 0
    last_time: int = 0
    provenance: tuple[Provenance | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Members were fitted on everything that was known, and all of them scored.

    Attributes:
        now: seconds since the epoch.
        order: id of the order.
        made: the version's artifacts.
        schema_digest: digest of the features' schema.
        libraries: versions of the libraries that fitted it, by name, sorted.
        cost: of the fits.
        came: how the members did on the labels that came since the last revision; None where
            too few came to tell.
        seed: of the fits.
        shadow: the artifacts of the order's shadow; None where it has none.
        beside: how both did on the labels that came; None where they were not compared.
    """

    now: float
    order: str
    made: Refitted
    schema_digest: str
    libraries: tuple[tuple[str, str], ...]
    cost: Cost
    came: Came | None = None
    seed: int = 0
    shadow: Refitted | None = None
    beside: Beside | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The registry has a new champion, or a new revision of it.

    Attributes:
        now: seconds since the epoch.
        order: id of the order; "" where a champion was found in the registry at the start.
        version: the champion's version.
        revision: its newest revision.
        epoch: counts the changes of the champion pointer.
        versions: highest version number that the registry knows, where it was found there.
        studies: and of studies; another daemon may have given out numbers.
    """

    now: float
    order: str
    version: Version
    revision: Revision
    epoch: int
    versions: int = 0
    studies: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned:
    """An order failed again and again, for a reason that trying again does not mend.

    Attributes:
        now: seconds since the epoch.
        order: id of the order.
        error: why it failed.
        attempts: how often it was tried.
    """

    now: float
    order: str
    error: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """Somebody brought a model from elsewhere; it was checked.

    Attributes:
        now: seconds since the epoch.
        who: who brought it.
        reason: why.
        recipe: names it by its content; nothing is fitted by it.
        artifact: SHA-256 of the artifact.
        schema_digest: digest of the features that it wants.
        libraries: versions of the libraries that loaded it, by name, sorted.
    """

    now: float
    who: str
    reason: str
    recipe: Recipe
    artifact: str
    schema_digest: str
    libraries: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """The registry keeps a version that does not serve.

    Attributes:
        now: seconds since the epoch.
        order: id of the order.
    """

    now: float
    order: str


Fact = (
    Arrived
    | Ticked
    | Called
    | Measured
    | Studied
    | Judged
    | Fitted
    | Published
    | Abandoned
    | Brought
    | Shelved
)
