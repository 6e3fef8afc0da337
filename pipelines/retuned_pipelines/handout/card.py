"""A model card (Mitchell et al. 2019): what a model that left is, and what it is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from retuned_pipelines.schema import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retuned_pipelines.handout.manifest import Manifest
    from retuned_pipelines.recipe import Recipe


def card(manifest: Manifest, snippet: str, files: dict[str, str]) -> str:
    """The card as Markdown.

    Args:
        manifest: what the model is.
        snippet: a Python program that loads it.
        files: what each file beside the card is.
    """
    parts = [
        f"# Model card: {manifest.name}\n",
        "\n".join(_what(manifest)),
        "## Features\n\n" + "\n".join(_features(manifest)),
        "## Data\n\n" + "\n".join(_data(manifest)),
        "## Recipe\n\n" + "\n".join(_recipes(manifest)),
        "## Evidence\n\n" + "\n".join(_evidence(manifest)),
        "## Limits\n\n" + "\n".join(_limits(manifest)),
        "## How to load it\n\n" + "\n".join(f"- `{name}`: {what}" for name, what in files.items()),
        f"`load.py` is this program:\n\n```python\n{snippet}```",
        "Fitted with " + _libraries(manifest) + f" and Python {manifest.python}; load it with "
        "the same versions, since neither scikit-learn nor LightGBM promises to read what "
        "others wrote.",
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _what(manifest: Manifest) -> Iterator[str]:
    task = {"regression": "a number", "binary": "one of two classes"}
    kind = task.get(manifest.task.value, "a class")
    yield f"Predicts `{_plain(manifest.target)}`, {kind}. Written by retuned {manifest.release}."
    if manifest.classes:
        yield ""
        yield f"Classes: {', '.join(f'`{_plain(name)}`' for name in manifest.classes)}."


def _features(manifest: Manifest) -> Iterator[str]:
    yield "| feature | kind |"
    yield "|---|---|"
    for feature in manifest.features:
        yield f"| `{_plain(feature.name)}` | {feature.kind.value} |"


def _data(manifest: Manifest) -> Iterator[str]:
    revision = manifest.revision
    if not revision.rows:
        yield "The model came from elsewhere; what it learned from is not known here."
        return
    yield (
        f"{revision.rows:,} labelled rows at the most, sequence numbers {revision.first_seq:,} to "
        f"{revision.last_seq:,}, as known at {revision.fitted_as_of:,}."
    )
    yield ""
    if not revision.last_time:
        yield "An earlier release made it, which did not write down their times."
    else:
        first, last = (_moment(us) for us in (revision.first_time, revision.last_time))
        yield f"Times of those rows: {first} to {last} (UTC)."


def _recipes(manifest: Manifest) -> Iterator[str]:
    asked = manifest.asked
    if len(asked) > 1:
        yield f"The weighted mean of {len(asked)} members' answers."
        yield ""
    yield "| weight | family | hyperparameters | learned from |"
    yield "|---|---|---|---|"
    for member, weight, _ in asked:
        recipe = member.recipe
        yield f"| {weight:.4f} | {recipe.family} | {_params(recipe)} | {_past(recipe)} |"


def _evidence(manifest: Manifest) -> Iterator[str]:
    verdict, study = manifest.version.verdict, manifest.version.study
    origin = f"found by study {study}" if study else "of no study"
    yield f"Version {manifest.version.number}, {origin}; it came after {_parent(manifest)}."
    yield ""
    yield f"The gate's verdict: {verdict.ruling.value}. {' '.join(verdict.reasons)}"
    if not verdict.rows:
        return
    yield ""
    yield (
        f"`{verdict.metric}` (higher is better) on {verdict.rows:,} rows in {verdict.blocks} "
        f"blocks that nothing had learned from: {verdict.challenger_score:.6g}, the "
        f"{verdict.rival} {verdict.rival_score:.6g}. Share of the loss removed: "
        f"{verdict.gain:.2%} ({verdict.lower:.2%} to {verdict.upper:.2%}, each bound at "
        f"{verdict.confidence:.0%})."
    )
    yield ""
    yield "The verdict compares procedures; the fitted model here knows newer rows as well."


def _parent(manifest: Manifest) -> str:
    parent = manifest.version.parent
    return f"version {parent}" if parent else "nothing: it is the first"


def _limits(manifest: Manifest) -> Iterator[str]:
    yield "- It no longer learns: from here on the world moves, and neither it nor its weights do."
    yield "- Outside of the data above it has been shown nothing."
    if any(model.layout.vocabularies for _, _, model in manifest.asked):
        yield "- A category that it never saw counts as missing."
    if any(feature.kind is Kind.TIMESTAMP for feature in manifest.features):
        yield "- It knows moments as seconds since the epoch (UTC); `load.py` makes them that."
    if any(member.recipe.past.time_feature for member, _, _ in manifest.asked):
        yield "- Some members know the time: every row is predicted as if it were the newest."
    if manifest.classes:
        yield "- Probabilities are not calibrated beyond what the fit gives."
    yield "- Nothing was tested for fairness: look at the groups that matter to you."


def _params(recipe: Recipe) -> str:
    told = ", ".join(f"{name}={json.dumps(value)}" for name, value in recipe.params)
    return _plain(told) or "defaults"


def _past(recipe: Recipe) -> str:
    return "not known here" if recipe.is_foreign else str(recipe.past)


def _libraries(manifest: Manifest) -> str:
    return ", ".join(f"{name} {found}" for name, found in manifest.revision.libraries.items())


def _moment(microseconds: int) -> str:
    return str(np.datetime_as_string(np.datetime64(microseconds, "us"), unit="s"))


def _plain(text: str) -> str:
    """Text that neither ends a table's cell nor a code span."""
    return text.replace("|", "\\|").replace("`", "'").replace("\n", " ")
