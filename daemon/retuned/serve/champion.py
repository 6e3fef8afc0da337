"""A champion that answers requests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from retuned.errors import PermanentError
from retuned_pipelines.fitting import aligned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from retuned.registry.versions import Crowned
    from retuned_pipelines.fitting import FittedModel
    from retuned_pipelines.schema import Schema


class BadFeatures(PermanentError):
    """A row cannot be predicted: names row and field."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Champion:
    """A champion's fitted members. May be used from many threads at once.

    Attributes:
        crowned: version, revision and epoch.
        models: the fitted members, in the version's order.
        classes: JSON texts of all classes that a member knows; empty for regression.
    """

    crowned: Crowned
    models: tuple[FittedModel, ...]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, crowned: Crowned, models: tuple[FittedModel, ...]) -> Champion:
        """Gather a version's fitted members."""
        classes = dict.fromkeys(name for model in models for name in model.classes)
        return cls(crowned=crowned, models=models, classes=tuple(classes))

    @property
    def schema(self) -> Schema:
        """The features that it wants."""
        return self.models[0].layout.schema

    @property
    def etag(self) -> str:
        """Changes whenever what is served changes."""
        return f'"{self.crowned.revision.name}-{self.crowned.epoch}"'

    @property
    def weights(self) -> tuple[float, ...]:
        """The members' weights as of now."""
        standing = self.crowned.revision.standing
        if standing is not None:
            return standing.weights
        return tuple(member.weight for member in self.crowned.version.members)

    def predict(self, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Predict rows as a client sends them; a feature that is not there is missing.

        Returns:
            For each row ``prediction``; for classes, the class as it was sent with its labels,
            and ``probabilities`` by the class's text.

        Raises:
            BadFeatures: a value is not of its feature's kind, or too large to predict with.
        """
        if not records:
            return []
        try:
            # What overflows is told as an error, not as a warning and a null.
            with np.errstate(over="ignore", invalid="ignore"):
                output = self._mean(
                    [model.predict(model.layout.encode_records(records)) for model in self.models]
                )
        except ValueError as error:
            raise BadFeatures(str(error)) from error
        _check_finite(output)
        if not self.classes:
            return [{"prediction": value} for value in output.tolist()]
        values = [json.loads(name) for name in self.classes]
        names = _names(self.classes, values)
        best = output.argmax(axis=1)
        return [
            {"prediction": values[top], "probabilities": dict(zip(names, row, strict=True))}
            for top, row in zip(best.tolist(), output.tolist(), strict=True)
        ]

    def outputs(self, features: pa.Table) -> NDArray[np.float64]:
        """Predict a table of features (n rows).

        Returns:
            Regression: predictions (n,). Classification: probabilities (n, classes), in the
            order of ``classes``.
        """
        return self._mean([model.predict(model.layout.encode(features)) for model in self.models])

    def member_outputs(self, features: pa.Table) -> list[NDArray[np.float64]]:
        """What each member answers; see `outputs`."""
        outputs = [model.predict(model.layout.encode(features)) for model in self.models]
        if not self.classes:
            return outputs
        return [
            aligned(output, model.classes, self.classes)
            for output, model in zip(outputs, self.models, strict=True)
        ]

    def _mean(self, outputs: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        weights = self.weights
        total = sum(weights)
        parts = [
            (aligned(output, model.classes, self.classes) if self.classes else output)
            * (weight / total)
            for output, model, weight in zip(outputs, self.models, weights, strict=True)
        ]
        return np.asarray(np.sum(parts, axis=0))


def _names(classes: Sequence[str], values: Sequence[object]) -> Sequence[str]:
    """The classes' texts: without quotes, unless text and number would then look the same."""
    plain = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return plain if len(set(plain)) == len(plain) else classes


def _check_finite(output: NDArray[np.float64]) -> None:
    is_finite = np.isfinite(output.reshape(len(output), -1)).all(axis=1)
    if not is_finite.all():
        message = f"row {int(np.argmin(is_finite))} has numbers that are too large to predict with"
        raise BadFeatures(message)
