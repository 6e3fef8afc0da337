"""Looking at what came: the champion's losses on matured labels, and a check for drift."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retuned.errors import RetunedError
from retuned.rows.arrival import UNKNOWN
from retuned_pipelines.drift.check import check
from retuned_pipelines.evaluate.metrics import row_losses
from retuned_pipelines.fitting import encoded_target
from retuned_pipelines.scoring import (
    MAX_SCORED,
    MIN_SCORED,
    block_losses,
    differences_of,
    sampled,
)
from retuned_pipelines.version import Beside, Came

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retuned.rows.log import RowLog
    from retuned.serve.champion import Champion, Outputs
    from retuned.serve.served import Answer
    from retuned.serve.served_log import ServedLog
    from retuned_pipelines.care.orders import Measure
    from retuned_pipelines.drift.report import DriftReport
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.window import Window


_log = logging.getLogger(__name__)

READ = 10 * MAX_SCORED
"""Rows that this choice is made from: after a large file there may be millions."""


def measure(spec: ModelSpec, order: Measure, log: RowLog) -> DriftReport:
    """Compare the rows and losses since the last check with those before it.

    The reference is the newest rows that the champion could learn from, and the losses of
    its version up to the last check. Of more rows since than any check needs, as after a large
    file, the newest ones are looked at.
    """
    reference = log.window(
        as_of=min(order.since_seq, order.learned_until),
        newest=min(spec.watch.reference_rows, order.learned_rows),
        with_labels=False,
    )
    metric = spec.metric
    most = spec.watch.reference_rows
    current = log.window(
        as_of=order.as_of,
        first_seq=order.since_seq + 1,
        newest=max(most, 2 * spec.watch.every_rows),
        with_labels=False,
    )
    earlier = log.losses(order.version, metric=metric, until=order.since_seq, newest=most)
    later = log.losses(order.version, metric=metric, after=order.since_seq, until=order.as_of)
    return check(
        spec,
        reference=reference,
        current=current,
        reference_losses=earlier.loss,
        current_losses=later.loss,
    )


def score_matured(
    spec: ModelSpec,
    log: RowLog,
    champion: Champion,
    until: int,
    *,
    served: ServedLog | None = None,
) -> None:
    """Store the loss on each row whose label came since the last time.

    It is that of the last answer given for the row before its label came, under the revision
    that gave it; where none was logged, that of what the champion answers now.

    Labels that the champion's revision knew when it was made are left out: a loss on what was
    learned says nothing. Before a successor takes over, the champion is scored on every label
    that the successor knows, so that no row goes unscored.

    Args:
        spec: task and metric.
        log: the model's rows.
        champion: what serves.
        until: newest sequence number of labels to look at.
        served: the answers that were given; None for none.
    """
    after = max(log.last_scored(), champion.crowned.revision.fitted_as_of)
    came = sampled(log.matured(after, until, most=READ))
    if came is not None:
        _store_losses(spec, log, champion, came, champion.outputs(came.features), served=served)


@dataclass(frozen=True, slots=True)
class Scored:
    """How members did on the labels that came since their revision was made.

    Attributes:
        came: the champion's; None where too few labels came to tell.
        beside: the champion and its shadow; None without one.
    """

    came: Came | None = None
    beside: Beside | None = None


def score_members(  # noqa: PLR0913 (what is scored, on what, how far)
    spec: ModelSpec,
    log: RowLog,
    champion: Champion,
    until: int,
    *,
    wants_elder: bool = False,
    served: ServedLog | None = None,
    shadow: Champion | None = None,
    compared: int = 0,
) -> Scored:
    """Score the champion as `score_matured` does, and each of its members; its shadow likewise.

    Args:
        spec: task and metric.
        log: the model's rows.
        champion: what serves.
        until: newest sequence number of labels to look at.
        wants_elder: whether to score the members' fits before their last ones, too.
        served: the answers that were given, as for `score_matured`.
        shadow: the champion before; None for none.
        compared: newest sequence number of labels on which both were compared already.
    """
    came = sampled(log.matured(champion.crowned.revision.fitted_as_of, until, most=READ))
    if came is None:
        return Scored()
    outputs = champion.member_outputs(came.features)
    mixed = champion.mixed(outputs)
    is_first = came.label_seq > compared
    if shadow is not None:
        # What was scored when both were compared has been corrected since; a label counts once.
        before = log.scored(came.seq)
        is_first &= (before < 0) | (before > compared)
    new = np.flatnonzero(came.label_seq > log.last_scored())
    if len(new):
        _store_losses(spec, log, champion, came.take(new), mixed[new], served=served)
    beside = None
    if shadow is not None:
        beside = _beside(spec, came, champion, outputs, shadow, is_first)
    if len(came) < MIN_SCORED:
        return Scored(None, beside)
    target = encoded_target(came, champion.classes)
    elder = champion.elder_outputs(came.features) if wants_elder else []
    found = Came(
        losses=block_losses(spec, target, outputs), elder=block_losses(spec, target, elder)
    )
    return Scored(found, beside)


def _beside(  # noqa: PLR0913, PLR0917 (what two champions answered to the same rows)
    spec: ModelSpec,
    came: Window,
    champion: Champion,
    outputs: Outputs,
    shadow: Champion,
    is_first: NDArray[np.bool_],
) -> Beside:
    theirs = shadow.member_outputs(came.features, known=champion.by_artifact(outputs, shadow))
    losses = [
        row_losses(spec.metric, spec.task, encoded_target(came, one.classes), output)
        for one, output in ((champion, champion.mixed(outputs)), (shadow, shadow.mixed(theirs)))
    ]
    order = np.argsort(came.label_seq, kind="stable")
    differences = differences_of(*losses)[order[is_first[order]]]
    members = None
    if len(came) >= MIN_SCORED:
        target = encoded_target(came, shadow.classes)
        members = Came(losses=block_losses(spec, target, theirs))
    return Beside(
        differences=tuple(differences.tolist()), until=int(came.label_seq.max()), came=members
    )


def _store_losses(  # noqa: PLR0913 (what is stored, and out of what)
    spec: ModelSpec,
    log: RowLog,
    champion: Champion,
    rows: Window,
    output: NDArray[np.float64],
    *,
    served: ServedLog | None,
) -> None:
    target = encoded_target(rows, champion.classes)
    loss = np.array(row_losses(spec.metric, spec.task, target, output), dtype=np.float64)
    crowned = champion.crowned.revision
    version = np.full(len(rows), crowned.version)
    revision = np.full(len(rows), crowned.number)
    for given in [] if served is None else _given(spec, log, rows, served):
        part = rows.take(given.places)
        target = encoded_target(part, given.classes)
        loss[given.places] = row_losses(spec.metric, spec.task, target, given.output)
        version[given.places], revision[given.places] = given.version, given.revision
    log.append_losses(
        rows.seq, rows.label_seq, loss, version=version, revision=revision, metric=spec.metric
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Given:
    """Answers that one revision gave to some rows: their places, and the output for each."""

    version: int
    revision: int
    classes: tuple[str, ...]
    places: NDArray[np.int64]
    output: NDArray[np.float64]


def _given(spec: ModelSpec, log: RowLog, rows: Window, served: ServedLog) -> list[_Given]:
    """The last answer for each row before its label came, by revision; without one, none.

    Where a label is corrected it is the first one that counts: an answer given after it says
    nothing.
    """
    before = log.scored(rows.seq)
    known = np.where(before < 0, rows.label_seq, np.minimum(before, rows.label_seq))
    came = log.arrived(known)
    until = np.where(came == UNKNOWN, np.iinfo(np.int64).max, came)
    try:
        answers = served.last(spec.name, rows.ids.to_pylist(), until.tolist())
    except RetunedError as error:
        _log.warning(
            "What was answered cannot be read, so the champion answers again: %s",
            error,
            extra={"action": "answers_unreadable", "model": spec.name},
        )
        return []
    found: dict[tuple[str, tuple[str, ...]], list[tuple[int, Answer]]] = {}
    for place, answer in enumerate(answers):
        # Of another task, where TASK changed before there were labels.
        if answer is not None and bool(answer.classes) == spec.task.is_classification:
            found.setdefault((answer.revision, answer.classes), []).append((place, answer))
    return [
        _Given(
            version=int(revision.partition(".")[0]),
            revision=int(revision.partition(".")[2]),
            classes=classes,
            places=np.array([place for place, _ in group]),
            output=np.stack([answer.output for _, answer in group]),
        )
        for (revision, classes), group in found.items()
    ]
