"""A comparison of two versions in words, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retuned.words.recipes import recipe_in_words
from retuned.words.values import short

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Line = tuple[str, str]


def contrast_in_words(found: Mapping[str, Any]) -> Iterator[Line]:
    """Tell of a comparison (in its JSON form), each line with what it is about."""
    for side in ("left", "right"):
        yield side, _side(found[side], found["drift"][side])
    yield from _recipes(found["recipes"])
    yield from _scores(found["scores"])
    yield from _drift(found["drift"])


def _side(side: Mapping[str, Any], learned: Mapping[str, Any]) -> str:
    role = ", the champion" if side["is_champion"] else ""
    name = f"version {side['version']} (revision {side['name']}{role})"
    if not learned["rows"]:
        return f"{name}, fitted elsewhere"
    return (
        f"{name}, learned from {learned['rows']:,} rows of numbers {learned['first_seq']:,} to "
        f"{learned['last_seq']:,}"
    )


def _recipes(found: Mapping[str, Any]) -> Iterator[Line]:
    yield "recipes", found["told"]
    for one in found["both"]:
        weights = f"{one['left']:.1%} left, {one['right']:.1%} right"
        yield "  both", f"{weights}: {recipe_in_words(one['recipe'])}"
    for side in ("left", "right"):
        for one in found[f"only_{side}"]:
            yield f"  {side}", f"{one['weight']:.1%}: {recipe_in_words(one['recipe'])}"
            if one["closest"] is not None:
                there = "right" if side == "left" else "left"
                yield "", f"beside the {there} one's closest: {_differing(one['differing'])}"


def _differing(found: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {short(value['here'])} instead of {short(value['there'])}"
        for name, value in found.items()
    )


def _scores(found: Mapping[str, Any]) -> Iterator[Line]:
    yield "scores", found["told"]
    for one in found["metrics"]:
        bounds = (
            ""
            if one["lower"] is None or one["upper"] is None or one["gain"] is None
            else f", loss cut by {one['gain']:+.1%} ({one['lower']:+.1%} to {one['upper']:+.1%})"
        )
        told = f"{one['metric']} {short(one['left'])} left, {short(one['right'])} right{bounds}"
        yield "", told


def _drift(found: Mapping[str, Any]) -> Iterator[Line]:
    yield "training data", found["told"]
    looked = f"{found['left']['looked_at']:,} and {found['right']['looked_at']:,}"
    yield "", f"looked at {looked} rows, evenly spaced in time"
    for one in found["strongest"]:
        yield "", f"{one['name']}: {one['method']} {one['effect']:.2f}, p {one['p_value']:.2g}"
