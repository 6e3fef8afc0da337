"""What the history says, in words: whether it verifies, and what was live at a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retuned.words.values import moment

if TYPE_CHECKING:
    from collections.abc import Mapping


def chain_in_words(chain: Mapping[str, Any]) -> list[str]:
    """What a look at a whole history has found, line by line."""
    told = f"{chain['events']:,} events, the newest is number {chain['newest']:,}"
    where = " Redis does not answer: this is the local journal's copy." * (chain["of"] == "journal")
    if not chain["findings"]:
        return [f"{told}: all of them verify.{where}"]
    return [f"{told}.{where}", *(f"WRONG  {finding}" for finding in chain["findings"])]


def live_in_words(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Which version was live at a moment, why, and on what evidence, line by line."""
    name, lines = found["champion"], [("at", moment(found["at"], zone=" %Z"))]
    if name is None:
        lines.append(("live", _nobody(found)))
    else:
        lines.append(("live", f"{name}, from {moment(found['since'])}"))
        lines += [("why", reason) for reason in found["why"]]
        promotion = found["events"]["promotion"]
        if promotion is not None and promotion["at"] < found["since"]:
            how = promotion["kind"].replace("_", " ")
            told = f"{promotion['body']['version']}, {how} {moment(promotion['at'])}"
            lines.append(("version", told))
        lines += [("evidence", told) for told in _evidence(found["evidence"])]
        lines.append(("before it", found["predecessor"] or "nobody"))
    if found["until"] is not None:
        lines.append(("after it", f"{found['successor']}, from {moment(found['until'])}"))
    elif name is not None:
        lines.append(("after it", "nobody yet"))
    if found["source"] == "journal":
        lines.append(("source", "the local journal: Redis does not answer"))
    return lines


def _nobody(found: Mapping[str, Any]) -> str:
    if found["is_whole"]:
        return "nobody: there was no champion yet"
    return f"not known: the history is kept since {moment(found['known_since'])}"


def _evidence(evidence: Mapping[str, Any] | None) -> list[str]:
    if evidence is None:
        return ["none is kept"]
    if "ruling" not in evidence:
        return [f"{name}: {value}" for name, value in evidence.items()]
    scores = f"{evidence['challenger_score']:.4g} against {evidence['rival_score']:.4g}"
    gain = f"{evidence['gain']:+.1%} ({evidence['lower']:+.1%} to {evidence['upper']:+.1%})"
    return [
        f"{evidence['ruling']}: {' '.join(evidence['reasons'])}",
        f"{evidence['metric']} {scores} of the {evidence['rival']}",
        f"loss removed: {gain}, on {evidence['rows']:,} rows in {evidence['blocks']} blocks",
    ]
