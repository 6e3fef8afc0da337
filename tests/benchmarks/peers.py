"""The peers: other ways of keeping a model, on the same rows with the same label delay."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

import numpy as np
from tests.benchmarks.meter import metered

from retuned.errors import ConfigError
from retuned.replay.outcome import Policy
from retuned.replay.policies import answers, plain_losses
from retuned_pipelines.fitting import classes_of, encoded_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from retuned.replay.history import History
    from retuned_pipelines.schema import Task
    from retuned_pipelines.spec import ModelSpec

MODULES = {"flaml": "flaml_peer", "arf": "river_peer", "lb": "river_peer"}
"""Where each peer is adapted. The modules import what only the peers need."""


class Peer(Protocol):
    """A learner of one stream. Called from one thread, learning before answering.

    Positions are those of the stream's rows; targets are numbers, or codes of classes.
    """

    fits: int
    """Models fitted so far; 0 for one that is never finished."""

    def learn(self, start: int, stop: int) -> None:
        """Take in the labels of rows ``start`` to ``stop`` (exclusive)."""
        ...

    def answer(self, start: int, stop: int) -> NDArray[np.generic]:
        """Predict the targets of rows ``start`` to ``stop`` (exclusive): (n)."""
        ...


def open_peer(name: str, spec: ModelSpec, history: History) -> Peer:
    """Build a peer for a stream.

    Raises:
        ConfigError: its library is not installed.
    """
    try:
        module = importlib.import_module(f"tests.benchmarks.{MODULES[name]}")
    except ImportError as error:
        message = f"{error}; install the peers: make bench-peers"
        raise ConfigError(message) from error
    target = encoded_target(history.window, classes_for(spec.task, history))
    peer: Peer = module.PEERS[name](spec, history.window.features, target)
    return peer


def follow(
    name: str, peer: Peer, spec: ModelSpec, history: History, tell: Callable[[int], None]
) -> Policy:
    """Let a peer live through the periods: it answers a period, then its labels come.

    Args:
        name: of the policy.
        peer: has learned nothing yet.
        spec: the model.
        history: the rows.
        tell: is given the number of periods that have passed, one at a time.
    """
    outputs = []
    with metered() as spent:
        peer.learn(0, history.bootstrap)
        for start, stop in history.spans:
            outputs.append(peer.answer(start, stop))
            peer.learn(start, stop)
            tell(1)
    classes = classes_for(spec.task, history)
    target = encoded_target(history.window, classes)[history.bootstrap :]
    losses = plain_losses(spec, target, answers(np.concatenate(outputs), classes))
    return Policy(name=name, losses=losses, fits=peer.fits, cpu_s=spent.cpu_s)


def classes_for(task: Task, history: History) -> tuple[str, ...]:
    """All classes of a stream, which codes are positions in; empty for a regression."""
    return classes_of(history.window) if task.is_classification else ()
