"""Running a study: batches of trials in child processes, each recorded as it ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from retuned.registry.studies import StudyRecord
from retuned.tune.data import WindowFile
from retuned.tune.executor import Call, Limits, Priority
from retuned.tune.halt import Halt
from retuned.tune.work import TrialRequest, run_trial
from retuned_pipelines.care.facts import Studied
from retuned_pipelines.care.orders import Boundary
from retuned_pipelines.evaluate.scores import reported
from retuned_pipelines.evaluate.splits import reserve
from retuned_pipelines.search.firsts import first_recipes
from retuned_pipelines.search.stop import has_plateaued, stopped_by_gain
from retuned_pipelines.search.study import best, finds, next_batch, space_of
from retuned_pipelines.search.trial import NO_COST, Trial
from retuned_pipelines.validation import Terms, Validation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from retuned.registry.studies import StudyBook
    from retuned.rows.log import RowLog
    from retuned.runtime.clock import Clock
    from retuned.tune.bench import Bench
    from retuned.tune.executor import Outcome
    from retuned_pipelines.care.orders import Study
    from retuned_pipelines.search.study import Proposal
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Studies:
    """Runs studies. May be used from any thread.

    A study that was interrupted goes on from its recorded trials: what is tried next
    depends on those of earlier batches alone.

    Attributes:
        bench: where trials are made.
        book: where they are recorded.
        clock: the time.
        observe: is told of every trial, with the model's name.
    """

    bench: Bench
    book: StudyBook
    clock: Clock
    observe: Callable[[str, Trial], None]

    def run(self, spec: ModelSpec, order: Study, log: RowLog) -> Studied:
        """Search for a better recipe on the labelled rows that the gate does not need.

        Raises:
            Interrupted: the daemon stops.
            RetunedError: the registry or the disk failed; the study goes on when run again.
        """
        window = log.window(as_of=order.as_of, newest=spec.search.max_rows, labelled=True)
        rows = window.span(0, reserve(window, spec.gate))
        record = self.book.open(self._record(spec, order, rows))
        trials = list(self.book.trials(spec.name, order.id))
        with WindowFile.write(rows, self.bench.window_path(spec.name, order.id)) as file:
            stopped, is_cut = self._search(spec, order, file, trials, record)
        found = best(trials)
        record = self.book.study(spec.name, order.id) or record
        self.book.write(
            replace(
                record,
                finished_at=self.clock.now(),
                stopped=stopped,
                best=None if found is None else found.recipe,
                best_trial=None if found is None else found.number,
                is_reproducible=record.is_reproducible and not is_cut,
            )
        )
        return Studied(
            now=self.clock.now(),
            order=order.id,
            best=None if found is None else found.recipe,
            trials=len(trials),
            stopped=stopped,
            boundary=record.boundary,
            cost=sum((trial.cost for trial in trials), NO_COST),
            finds=finds(trials),
        )

    def _record(self, spec: ModelSpec, order: Study, rows: Window) -> StudyRecord:
        boundary = Boundary(int(rows.time[-1]), int(rows.seq[-1])) if len(rows) else Boundary(0, 0)
        return StudyRecord(
            id=order.id,
            model=spec.name,
            as_of=order.as_of,
            started_at=self.clock.now(),
            rows=len(rows),
            planned=spec.search.trials,
            boundary=boundary,
        )

    def _search(
        self,
        spec: ModelSpec,
        order: Study,
        file: WindowFile,
        trials: list[Trial],
        record: StudyRecord,
    ) -> tuple[str, bool]:
        """Add trials batch by batch; returns why it ended, and whether it was cut off."""
        policy = spec.search
        space = space_of(spec.task, policy, record.rows, has_changed=order.changed_seq > 0)
        firsts = first_recipes(spec.task, policy, space, order.champion, order.finds)
        begun = self.clock.now()
        halt = Halt(
            policy=policy,
            spent_s=lambda: record.spent_s + self.clock.now() - begun,
            trials=trials,
            asked=lambda: self.book.asked_to_stop(spec.name, order.id),
        )
        asked: list[Proposal] = []
        for batch in range(math.ceil(policy.trials / policy.batch)):
            earlier = [trial for trial in trials if trial.batch < batch]
            if has_plateaued(earlier, policy, firsts, spec.metric):
                return stopped_by_gain(policy), False
            proposals = next_batch(space, policy, firsts, trials, batch, asked=asked)
            if not proposals:
                return "nothing new was left to try", False
            asked += proposals
            known = {trial.number for trial in trials}
            missing = [proposal for proposal in proposals if proposal.number not in known]
            if missing and (
                halt.is_due() or not self._try(spec, order, file, missing, trials, halt)
            ):
                return f"{halt.reason}; what it tried is not reproducible", True
            self.book.write(replace(record, spent_s=halt.spent_s()))
        return f"all {policy.trials} trials were made", False

    def _try(  # noqa: PLR0913, PLR0917 (a batch and where it belongs)
        self,
        spec: ModelSpec,
        order: Study,
        file: WindowFile,
        proposals: Sequence[Proposal],
        trials: list[Trial],
        halt: Halt,
    ) -> bool:
        """Make a batch's trials and record them in their order; False where it had to end."""
        group = f"{spec.name}/{order.id}"
        futures = [
            self.bench.executor.submit(self._call(spec, order, proposal, file))
            for proposal in proposals
        ]
        is_whole = self.bench.waited(futures, halt.is_due)
        if not is_whole:
            done = [future.done() for future in futures]
            self.bench.executor.cancel(group)
            futures = [future for future, is_done in zip(futures, done, strict=True) if is_done]
            proposals = [p for p, is_done in zip(proposals, done, strict=True) if is_done]
        for proposal, future in zip(proposals, futures, strict=True):
            trial = _trial(proposal, future)
            self.book.record(spec.name, order.id, trial)
            trials.append(trial)
            self.observe(spec.name, trial)
        trials.sort(key=lambda trial: trial.number)
        return is_whole

    def _call(self, spec: ModelSpec, order: Study, proposal: Proposal, file: WindowFile) -> Call:
        policy = spec.search
        terms = Terms(
            task=spec.task,
            names=reported(spec.task, spec.metric, spec.gate.guards),
            folds=policy.folds,
            seed=policy.seed * 1_000_003 + proposal.number,
            threads=self.bench.executor.threads,
            changed_seq=order.changed_seq,
            share=proposal.share,
        )
        return Call(
            function=run_trial,
            request=TrialRequest(window=file, recipe=proposal.recipe, terms=terms),
            limits=Limits(wall_s=policy.trial_s, memory_mb=policy.trial_mb),
            priority=Priority.TRIAL,
            group=f"{spec.name}/{order.id}",
        )


def _trial(proposal: Proposal, future: Future[Outcome]) -> Trial:
    outcome = future.result()
    found = outcome.value if isinstance(outcome.value, Validation) else None
    tried = Trial(
        number=proposal.number,
        batch=proposal.batch,
        origin=proposal.origin,
        recipe=proposal.recipe,
        score=None,
        train_score=None,
        cost=outcome.cost,
        error=outcome.error,
        share=proposal.share,
    )
    return tried if found is None else replace(tried, **found.as_fields())
