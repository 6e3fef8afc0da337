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
import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from retuned.errors import ConfigError
from retuned.replay.history import read_history
from retuned.replay.house import open_house
from retuned.replay.outcome import Life, Outcome, Policy
from retuned.replay.page import render
from retuned.replay.policies import BASELINES, baselines, count_fits, plain_losses
from retuned.rows.batch import LabelBatch, RowBatch
from retuned.runtime.schedule import is_overdue
from retuned.settings import load_model
from retuned.settings.envfile import read_keys
from retuned.tune.local import LocalExecutor
from retuned_pipelines.care.facts import Ticked
from retuned_pipelines.fitting import aligned, classes_of, encoded_target

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retuned.replay.history import History
    from retuned.replay.house import House
    from retuned.replay.policies import Refits
    from retuned.tune.executor import Executor
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.window import Window


CHECKS = 100_000
"""Drift reports that are read back: all."""


def main(args: Namespace) -> int:
    """Run ``retuned replay``.

    Args:
        args: ``file``, ``model`` (env files), ``policy`` (``KEY=VALUE`` each), ``periods``,
            ``bootstrap``, ``label_delay``, ``seed``, ``workers``, ``json`` and ``html`` (paths or
            None).

    Raises:
        ConfigError: a model file or an override is wrong.
        PermanentError: the history cannot be read.
    """
    specs = [read_spec(path, args.policy, args.seed) for path in args.model]
    console = Console()
    history = read_history(
        args.file,
        specs[0],
        periods=args.periods,
        bootstrap=args.bootstrap,
        label_delay=args.label_delay,
    )
    # Threads are part of what is computed: the number of workers must change nothing.
    workers = args.workers or len(os.sched_getaffinity(0))
    executor = LocalExecutor(workers=workers, threads=1)
    try:
        with progress(console) as bar:
            outcome = replay(specs, history, executor, bar)
    finally:
        executor.close()
    console.print(_table(outcome))
    for life in outcome.lives:
        told = f"{outcome.worth(life.policy)} {outcome.silence(life)}"
        console.print(told.rstrip(), highlight=False)
    if args.json is not None:
        args.json.write_text(json.dumps(outcome.to_json(), indent=1) + "\n")
        console.print(f"Everything as JSON: {args.json}")
    if args.html is not None:
        args.html.write_text(render(outcome, args.file.name))
        console.print(f"As a page: {args.html}")
    return 0


def read_spec(path: Path, policy: Sequence[str], seed: int) -> ModelSpec:
    """Read a model file, with some of its keys replaced.

    Args:
        path: the file.
        policy: ``KEY=VALUE`` each.
        seed: replaces the search's own.

    Raises:
        ConfigError: the file or a replacement is wrong.
    """
    given, _ = read_keys(path)
    for item in policy:
        key, is_pair, value = item.partition("=")
        if not is_pair:
            message = f"--policy {item!r} is not KEY=VALUE"
            raise ConfigError(message)
        given[key] = value
    with tempfile.TemporaryDirectory() as directory:
        merged = Path(directory) / path.name
        if policy and path.exists():
            merged.write_text("".join(f"{key}={value}\n" for key, value in given.items()))
        else:
            merged = path
        spec, findings = load_model(merged)
    if spec is None:
        lines = (finding.text.replace(str(merged), str(path)) for finding in findings)
        raise ConfigError("\n".join(lines))
    return replace(spec, search=replace(spec.search, seed=seed))


def replay(
    specs: Sequence[ModelSpec],
    history: History,
    executor: Executor,
    bar: Progress,
    refits: Sequence[Refits] = BASELINES,
) -> Outcome:
    """Let the keepers live through a history, one after the other, then the baselines.

    Args:
        specs: the models; all predict the same target.
        history: what happened.
        executor: runs fits.
        bar: shows how far it is.
        refits: the baselines that fit.
    """
    names = ["retuned"] if len(specs) == 1 else [f"retuned {spec.name}" for spec in specs]
    lives = [
        _life(spec, name, history, executor, bar) for spec, name in zip(specs, names, strict=True)
    ]
    total = count_fits(refits, len(history.spans))
    fits = bar.add_task("baselines", total=total, loss="", visible=bool(refits))
    others = baselines(specs[0], history, executor, lambda count: bar.advance(fits, count), refits)
    return Outcome(history=history, lives=lives, baselines=others)


def _life(spec: ModelSpec, name: str, history: History, executor: Executor, bar: Progress) -> Life:
    task = bar.add_task(name, total=len(history.spans), loss="")
    champions: list[str] = []
    losses: list[NDArray[np.float64]] = []
    with (
        tempfile.TemporaryDirectory(prefix="retuned-") as directory,
        open_house(spec, Path(directory), executor, _moment(history, 0)) as house,
    ):
        _append(house, history.window.span(0, history.bootstrap))
        house.clock.move_to(max(house.clock.now(), _moment(history, history.bootstrap - 1)))
        _label(house, history.window.span(0, history.bootstrap))
        house.settle()
        for number, (start, stop) in enumerate(history.spans):
            part = history.window.span(start, stop)
            losses.append(_served(spec, house, history.window, part))
            champion = house.stage.of(spec.name)
            champions.append("" if champion is None else champion.crowned.revision.name)
            _live(spec, house, history, number)
            bar.update(task, advance=1, loss=f"loss {np.concatenate(losses).mean():.4g}")
        return Life(
            name=spec.name,
            metric=spec.metric,
            policy=_ours(house, name, np.concatenate(losses)),
            champions=champions,
            events=tuple(house.events),
            checks=[
                {"id": check, "at": at, **report}
                for check, at, report in reversed(house.journal.drifts(spec.name, CHECKS))
            ],
            cpu_s=dict(house.metered.cpu_s),
        )


def _live(spec: ModelSpec, house: House, history: History, number: int) -> None:
    """Let a period pass: its rows come, then labels; what follows comes before the next."""
    start, stop = history.spans[number]
    _append(house, history.window.span(start, stop))
    house.settle()
    house.clock.move_to(max(house.clock.now(), _moment(history, stop - 1)))
    _label(house, history.window.span(history.known(number), history.known(number + 1)))
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
    batch = RowBatch(
        ids=part.ids,
        time=part.time,
        is_timed=True,
        features=part.features,
        labels=pa.nulls(len(part), part.target.type),
    )
    house.log.append_rows(batch, part.schema)


def _label(house: House, part: Window) -> None:
    labelled = part.labelled()
    if len(labelled):
        house.log.append_labels(LabelBatch(ids=labelled.ids, values=labelled.target))


def _ours(house: House, name: str, losses: NDArray[np.float64]) -> Policy:
    counts = Counter(event.kind.value for event in house.events)
    return Policy(
        name=name,
        losses=losses,
        fits=house.metered.fits,
        trials=len(house.trials),
        promotions=counts["promoted"],
        cpu_s=sum(house.metered.cpu_s.values()),
    )


def _moment(history: History, position: int) -> float:
    return float(history.window.time[position]) / 1e6


def progress(console: Console) -> Progress:
    """A bar that shows how far each policy is, and its loss so far."""
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
    table = Table(title=f"{rows:,} rows in {len(outcome.history.spans)} periods")
    for name in ("policy", "loss", "cut", "fits", "trials", "CPU s", "promotions"):
        table.add_column(name, justify="left" if name == "policy" else "right")
    for policy in outcome.policies:
        table.add_row(
            policy.name,
            f"{policy.loss:.4g}",
            f"{policy.cut(outcome.reference):+.1%}",
            str(policy.fits),
            str(policy.trials),
            f"{policy.cpu_s:,.1f}",
            str(policy.promotions),
            style="bold" if policy.name.startswith("retuned") else None,
        )
    return table
