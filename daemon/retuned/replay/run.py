"""Running a replay, and telling of it."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from retuned.errors import ConfigError
from retuned.replay.history import read_history
from retuned.replay.house import open_house
from retuned.replay.outcome import Outcome, Policy
from retuned.replay.policies import baselines, plain_losses
from retuned.rows.batch import LabelBatch, RowBatch
from retuned.runtime.schedule import is_overdue
from retuned.settings import load_model
from retuned.tune.local import LocalExecutor
from retuned_pipelines.care.facts import Ticked
from retuned_pipelines.fitting import aligned, classes_of, encoded_target

if TYPE_CHECKING:
    from argparse import Namespace

    from numpy.typing import NDArray

    from retuned.replay.history import History
    from retuned.replay.house import House
    from retuned.tune.executor import Executor
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.window import Window


def main(args: Namespace) -> int:
    """Run ``retuned replay``.

    Args:
        args: ``file``, ``model`` (an env file), ``periods``, ``bootstrap``, ``seed``, ``workers``,
            ``json`` (a path or None).

    Raises:
        ConfigError: the model file is wrong.
        PermanentError: the history cannot be read.
    """
    spec, findings = load_model(args.model)
    if spec is None:
        raise ConfigError("\n".join(finding.text for finding in findings))
    spec = replace(spec, search=replace(spec.search, seed=args.seed))
    console = Console()
    history = read_history(args.file, spec, periods=args.periods, bootstrap=args.bootstrap)
    cores = len(os.sched_getaffinity(0))
    workers = args.workers or cores
    # Threads are part of what is computed: the number of workers must change nothing.
    executor = LocalExecutor(workers=workers, threads=1)
    try:
        with tempfile.TemporaryDirectory(prefix="retuned-") as directory, _bar(console) as bar:
            outcome = replay(spec, history, executor, Path(directory), bar)
    finally:
        executor.close()
    console.print(_table(outcome))
    if args.json is not None:
        args.json.write_text(json.dumps(outcome.to_json(), indent=1) + "\n")
        console.print(f"Everything as JSON: {args.json}")
    return 0


def replay(
    spec: ModelSpec, history: History, executor: Executor, directory: Path, bar: Progress
) -> Outcome:
    """Let the keeper live through a history, then the baselines.

    Args:
        spec: the model.
        history: what happened.
        executor: runs fits.
        directory: for temporary stores; a short path.
        bar: shows how far it is.
    """
    task = bar.add_task("periods", total=len(history.spans), loss="")
    champions: list[str] = []
    losses: list[NDArray[np.float64]] = []
    with open_house(spec, directory, executor, _moment(history, 0)) as house:
        _append(house, history.window.span(0, history.bootstrap))
        _label(house, history.window.span(0, history.bootstrap))
        house.settle()
        for start, stop in history.spans:
            part = history.window.span(start, stop)
            losses.append(_served(spec, house, history.window, part))
            champion = house.stage.of(spec.name)
            champions.append("" if champion is None else champion.crowned.revision.name)
            _live(spec, house, history, part, stop)
            bar.update(task, advance=1, loss=f"loss {np.concatenate(losses).mean():.4g}")
        ours = _ours(house, np.concatenate(losses))
        events = tuple(house.events)
    fits = bar.add_task("baselines", total=2 * len(history.spans) + 1, loss="")
    others = baselines(spec, history, executor, directory, lambda count: bar.advance(fits, count))
    return Outcome(
        model=spec.name,
        metric=spec.metric,
        history=history,
        policies=(ours, *others),
        events=events,
        champions=champions,
    )


def _live(spec: ModelSpec, house: House, history: History, part: Window, stop: int) -> None:
    """Let a period pass: its rows come, then its labels; what follows comes before the next."""
    _append(house, part)
    house.settle()
    house.clock.move_to(max(house.clock.now(), _moment(history, stop - 1)))
    _label(house, part)
    house.settle()
    last = house.keeper.state.ticked_at
    if is_overdue(spec.schedule, last=last, now=house.clock.now()):
        house.keeper.accept(Ticked(now=house.clock.now()))
        house.lanes.drain()


def _served(spec: ModelSpec, house: House, everything: Window, part: Window) -> NDArray[np.float64]:
    """Losses of a period's rows, as the champion of the moment answers them."""
    classes = classes_of(everything) if spec.task.is_classification else ()
    target = encoded_target(part, classes)
    champion = house.stage.of(spec.name)
    if champion is None:
        # Nobody answers: as wrong as can be for a class, as wrong as zero for a number.
        return np.ones(len(part)) if classes else np.abs(np.asarray(target, dtype=np.float64))
    output = champion.outputs(part.features)
    output = aligned(output, champion.classes, classes) if classes else output
    return plain_losses(spec, target, output)


def _append(house: House, part: Window) -> None:
    ids = part.ids.to_pylist()
    batch = RowBatch(
        ids=ids,
        time=part.time,
        features=part.features,
        contents=[name.encode() for name in ids],
        labels={},
    )
    house.log.append_rows(batch, part.schema)


def _label(house: House, part: Window) -> None:
    labelled = [
        (name, value)
        for name, value in zip(part.ids.to_pylist(), part.target.to_pylist(), strict=True)
        if value is not None
    ]
    if labelled:
        ids, values = zip(*labelled, strict=True)
        house.log.append_labels(LabelBatch(ids=ids, values=values))


def _ours(house: House, losses: NDArray[np.float64]) -> Policy:
    counts = Counter(event.kind.value for event in house.events)
    return Policy(
        name="retuned",
        losses=losses,
        fits=counts["promoted"] + counts["revised"],
        trials=len(house.trials),
        promotions=counts["promoted"],
        cpu_s=house.metered.cost.cpu_s,
    )


def _moment(history: History, position: int) -> float:
    return float(history.window.time[position]) / 1e6


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[loss]}"),
        console=console,
    )


def _table(outcome: Outcome) -> Table:
    rows = len(outcome.policies[0].losses)
    table = Table(title=f"{outcome.model}: {rows:,} rows in {len(outcome.champions)} periods")
    for name in ("policy", "loss", "cut", "fits", "trials", "promotions", "CPU s"):
        table.add_column(name, justify="left" if name == "policy" else "right")
    for policy in outcome.policies:
        table.add_row(
            policy.name,
            f"{policy.loss:.4g}",
            f"{policy.cut(outcome.reference):+.1%}",
            str(policy.fits),
            str(policy.trials),
            str(policy.promotions),
            f"{policy.cpu_s:.1f}",
            style="bold" if policy.name == "retuned" else None,
        )
    return table
