"""A champion that answers requests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from retuned.errors import PermanentError
from retuned_pipelines.fitting import FittedModel, aligned
from retuned_pipelines.weights import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from retuned.registry.pointer import Crowned
    from retuned_pipelines.models.layout import Layout
    from retuned_pipelines.schema import Schema

Models = tuple[FittedModel | None, ...]
Outputs = list["NDArray[np.float64] | None"]


class BadFeatures(PermanentError):
    """A row cannot be predicted: names row and field."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Champion:
    """A champion's fitted members. May be used from many threads at once.

    Attributes:
        crowned: version, revision and epoch.
        models: the fitted members, in the version's order; None for retired ones.
        elder: what each member was before its last fit; None where that was earlier than the
            last revision, or is not known.
        classes: JSON texts of all classes that a member knows; empty for regression.
    """

    crowned: Crowned
    models: Models
    elder: Models
    classes: tuple[str, ...]

    @classmethod
    def of(cls, crowned: Crowned, models: Models, elder: Models = ()) -> Champion:
        """Gather a version's fitted members."""
        found = [model for model in models if model is not None]
        classes = dict.fromkeys(name for model in found for name in model.classes)
        return cls(
            crowned=crowned,
            models=models,
            elder=elder or (None,) * len(models),
            classes=tuple(classes),
        )

    @property
    def schema(self) -> Schema:
        """The features that it wants."""
        return next(model for model in self.models if model is not None).layout.schema

    @property
    def etag(self) -> str:
        """Changes whenever what is served changes."""
        return f'"{self.crowned.revision.name}-{self.crowned.epoch}"'

    @property
    def loaded(self) -> dict[str, FittedModel]:
        """The fitted members by artifact."""
        pairs = zip(self.crowned.revision.artifacts, self.models, strict=True)
        return {name: model for name, model in pairs if model is not None}

    @property
    def weights(self) -> tuple[float, ...]:
        """The weights by which the members answer; 0 for who is not asked."""
        return serving(self.crowned.revision.standing)

    def predict(self, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Predict rows as a client sends them; a feature that is not there is missing.

        Returns:
            For each row ``prediction``; for classes, the class as it was sent with its labels,
            and ``probabilities`` by the class's text.

        Raises:
            BadFeatures: a value is not of its feature's kind, or too large to predict with.
        """
        return self.told(self.answer(records)) if records else []

    def answer(self, records: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """What is answered to rows (n > 0), in the form of `outputs`; see `predict`."""
        try:
            # What overflows is told as an error, not as a warning and a null.
            with np.errstate(over="ignore", invalid="ignore"):
                output = self.mixed(
                    self._outputs(self._asked, lambda layout: layout.encode_records(records))
                )
        except ValueError as error:
            raise BadFeatures(str(error)) from error
        _check_finite(output)
        return output

    def told(self, output: NDArray[np.float64]) -> list[dict[str, Any]]:
        """Outputs (n rows) as a client gets them; see `predict`."""
        return told(self.classes, output)

    def outputs(self, features: pa.Table) -> NDArray[np.float64]:
        """Predict a table of features (n rows).

        Returns:
            Regression: predictions (n,). Classification: probabilities (n, classes), in the
            order of ``classes``.
        """
        return self.mixed(self._outputs(self._asked, lambda layout: layout.encode(features)))

    def member_outputs(
        self, features: pa.Table, known: Mapping[str, NDArray[np.float64]] = MappingProxyType({})
    ) -> Outputs:
        """What each member answers, see `outputs`; None for retired ones.

        Args:
            features: of n rows.
            known: what some answered already, by artifact; see `by_artifact`.
        """
        names = self.crowned.revision.artifacts
        asked = tuple(
            None if name in known else model for name, model in zip(names, self.models, strict=True)
        )
        outputs = self._outputs(asked, lambda layout: layout.encode(features))
        return [known.get(name, output) for name, output in zip(names, outputs, strict=True)]

    def by_artifact(self, outputs: Outputs, other: Champion) -> dict[str, NDArray[np.float64]]:
        """Members' outputs by artifact, as far as they are the same for another champion."""
        if other.classes != self.classes:
            return {}
        names = self.crowned.revision.artifacts
        return {
            name: output for name, output in zip(names, outputs, strict=True) if output is not None
        }

    def elder_outputs(self, features: pa.Table) -> Outputs:
        """What each member would have answered before its last fit; see `outputs`, `elder`."""
        return self._outputs(self.elder, lambda layout: layout.encode(features))

    def mixed(self, outputs: Outputs) -> NDArray[np.float64]:
        """The champion's answer out of its members': their weighted mean."""
        parts = [
            output * weight
            for output, weight in zip(outputs, self.weights, strict=True)
            if output is not None and weight
        ]
        return np.asarray(np.sum(parts, axis=0))

    @property
    def _asked(self) -> Models:
        """The members whose answers count."""
        return tuple(
            model if weight else None
            for model, weight in zip(self.models, self.weights, strict=True)
        )

    def _outputs(self, models: Models, encode: Callable[[Layout], NDArray[np.float64]]) -> Outputs:
        """What models answer to the same rows; equal layouts are encoded once."""
        matrices: list[tuple[Layout, NDArray[np.float64]]] = []
        outputs: list[NDArray[np.float64] | None] = []
        for model in models:
            if model is None:
                outputs.append(None)
                continue
            matrix = next((known for layout, known in matrices if layout == model.layout), None)
            if matrix is None:
                matrix = encode(model.layout)
                matrices.append((model.layout, matrix))
            output = model.predict(matrix)
            outputs.append(aligned(output, model.classes, self.classes) if self.classes else output)
        return outputs


def told(classes: tuple[str, ...], output: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Outputs, numbers (n,) or probabilities (n, classes), as a client gets them."""
    if not classes:
        return [{"prediction": value} for value in output.tolist()]
    values = [json.loads(name) for name in classes]
    names = _names(classes, values)
    best = output.argmax(axis=1)
    return [
        {"prediction": values[top], "probabilities": dict(zip(names, row, strict=True))}
        for top, row in zip(best.tolist(), output.tolist(), strict=True)
    ]


def _names(classes: Sequence[str], values: Sequence[object]) -> Sequence[str]:
    """The classes' texts: without quotes, unless text and number would then look the same."""
    plain = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return plain if len(set(plain)) == len(plain) else classes


def _check_finite(output: NDArray[np.float64]) -> None:
    is_finite = np.isfinite(output.reshape(len(output), -1)).all(axis=1)
    if not is_finite.all():
        message = f"row {int(np.argmin(is_finite))} has numbers that are too large to predict with"
        raise BadFeatures(message)
