"""Results that are kept in a file, so that nothing is computed twice."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from retuned.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from retuned.replay.history import History
    from retuned.replay.outcome import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How one policy did on one stream.

    Attributes:
        loss: error rate, or mean absolute error.
        cpu_s: CPU seconds of everything that it did.
        cpu: the same by what it was used for, where that is known.
        fits: models fitted.
        trials: trials made.
        promotions: versions that took over.
        periods: loss of each period.
    """

    loss: float
    cpu_s: float = 0.0
    cpu: Mapping[str, float] = field(default_factory=dict)
    fits: int = 0
    trials: int = 0
    promotions: int = 0
    periods: tuple[float, ...] = ()

    @classmethod
    def of(
        cls, policy: Policy, history: History, cpu: Mapping[str, float] | None = None
    ) -> Figures:
        """Take over what a replay found.

        Args:
            policy: how it did.
            history: on what.
            cpu: CPU seconds by use; without it the policy's own sum counts.
        """
        first = history.bootstrap
        return cls(
            loss=policy.loss,
            cpu_s=sum(cpu.values()) if cpu else policy.cpu_s,
            cpu=dict(cpu or {}),
            fits=policy.fits,
            trials=policy.trials,
            promotions=policy.promotions,
            periods=tuple(
                float(np.mean(policy.losses[start - first : stop - first]))
                for start, stop in history.spans
            ),
        )


class Book:
    """Figures by stream, group and policy in a JSON file, which is written with each group."""

    def __init__(self, path: Path) -> None:
        """Open the file where there is one."""
        self._path = path
        self._kept: dict[str, dict[str, Any]] = (
            json.loads(path.read_text()) if path.exists() else {}
        )

    def has(self, stream: str, group: str, settings: Mapping[str, Any]) -> bool:
        """Whether a group has been computed on a stream.

        Raises:
            ConfigError: it has been, with other settings.
        """
        kept = self._kept.get(stream, {}).get(group)
        if kept is None:
            return False
        if kept["settings"] != settings:
            message = (
                f"{self._path} holds {group} on {stream} with other settings "
                f"({_differences(kept['settings'], settings)}): compute it again "
                f"(AGAIN={group}, --again {group}), or keep results in another file"
            )
            raise ConfigError(message)
        return True

    def keep(
        self,
        stream: str,
        group: str,
        settings: Mapping[str, Any],
        policies: Mapping[str, Figures],
    ) -> None:
        """Keep what a group's policies did on a stream."""
        self._kept.setdefault(stream, {})[group] = {
            "settings": dict(settings),
            "policies": {name: asdict(figures) for name, figures in policies.items()},
        }
        self._write()

    def forget(self, stream: str, groups: Iterable[str]) -> None:
        """Drop what is to be computed anew, so that old and new never stand side by side."""
        for group in groups:
            self._kept.get(stream, {}).pop(group, None)
        self._write()

    def policies(self, stream: str) -> dict[str, Figures]:
        """Everything that is known of a stream, by policy."""
        return {
            name: Figures(**{**figures, "periods": tuple(figures["periods"])})
            for group in self._kept.get(stream, {}).values()
            for name, figures in group["policies"].items()
        }

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".tmp")
        draft.write_text(json.dumps(self._kept, indent=1) + "\n")
        draft.replace(self._path)


def _differences(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key}: {kept.get(key)}, not {wanted.get(key)}"
        for key in sorted({*kept, *wanted})
        if kept.get(key) != wanted.get(key)
    )
