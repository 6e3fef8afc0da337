"""Events and recipes in words."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from retuned_pipelines.recipe import FOREIGN_FAMILY, Past
from retuned_pipelines.version import Standing
from retuned_pipelines.weights import serving

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SHOWN = 4
_FAMILIES = {"lightgbm": "LightGBM", "linear": "linear model", "forest": "random forest"}
_LEAVES, _RATE = 31, 0.1
"""LightGBM's defaults."""

_WISHES = {"rollback": "roll back to"}
"""What an operator asked for, where the name of it is no verb."""

_SIGN = 2.0
"""An e-value below this is no sign of anything."""

_LOSSES = {"regression_l1": "absolute error", "huber": "Huber loss"}


def recipe_in_words(recipe: Mapping[str, Any]) -> str:
    """Say in a few words what a recipe (in its JSON form) is."""
    params = recipe["params"]
    if recipe["family"] == FOREIGN_FAMILY:
        return f"imported {params['estimator']}"
    told = [recipe["family"]]
    if "num_leaves" in params:
        told.append(f"{params['num_leaves']} leaves")
    told += [_LOSSES[loss] for loss in (params.get("objective"),) if loss in _LOSSES]
    if recipe["family"] != "constant":
        told.append(str(Past(**recipe["past"])))
    return ", ".join(told)


def recipe_in_short(recipe: Mapping[str, Any]) -> str:
    """Say in a legend's few words what makes a recipe differ from its family's default."""
    params, past = recipe["params"], Past(**recipe["past"])
    if recipe["family"] == FOREIGN_FAMILY:
        return f"imported {params['estimator']}"
    told = [_FAMILIES.get(recipe["family"], recipe["family"])]
    if params.get("num_leaves", _LEAVES) != _LEAVES:
        told.append(f"{params['num_leaves']} leaves")
    told += [_LOSSES[loss] for loss in (params.get("objective"),) if loss in _LOSSES]
    if past.rows is not None:
        told.append(f"newest {past.rows:,} rows")
    if past.since_change:
        told.append("since the last change")
    if past.half_life_rows is not None:
        told.append(f"half-life {past.half_life_rows:,} rows")
    if past.time_feature:
        told.append("time as a feature")
    if len(told) == 1 and recipe["family"] == "lightgbm":
        told.append("defaults" if params.get("learning_rate") == _RATE else "tuned")
    return ", ".join(told)


def names_of(recipes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Short names, no two the same, by `identity`; in the order in which recipes come first."""
    found = {identity(recipe): recipe_in_short(recipe) for recipe in recipes}
    count, names = Counter(found.values()), {}
    seen: Counter[str] = Counter()
    for key, name in found.items():
        seen[name] += 1
        names[key] = f"{name} ({seen[name]})" if count[name] > 1 else name
    return names


def shares_in_words(standing: Mapping[str, Any]) -> list[str]:
    """How much each member of a revision has to say, by its standing in the JSON form."""
    found = Standing.from_json(standing)
    return [
        "retired" if is_gone else f"{share:.1%}" if share else "not asked"
        for share, is_gone in zip(serving(found), found.retired, strict=True)
    ]


def probation_in_words(found: Mapping[str, Any]) -> str:
    """Say in a line how a champion does beside the one before it (in its JSON form)."""
    told = (
        f"on probation beside version {found['beside']}: {found['labels']:,} of "
        f"{found['until']:,} labels"
    )
    if found["is_worse"]:
        return f"{told}, found worse: version {found['beside']} comes back"
    e_value, threshold = found["e_value"], found["threshold"]
    if e_value < _SIGN:
        return f"{told}, no sign of being worse"
    more = found["difference"]
    so_far = f"its loss is larger by {more:.4g} so far" if more > 0 else "so far as good"
    return f"{told}, {so_far} (e-value {e_value:.3g}, it is called worse at {threshold:.0f})"


def identity(recipe: Mapping[str, Any]) -> str:
    """What makes two recipes (in their JSON forms) the same."""
    return json.dumps(recipe, sort_keys=True)


def tell(event: Mapping[str, Any]) -> str:  # noqa: C901, PLR0912 (a case a kind)
    """Say in a line what an event (in its JSON form) tells of."""
    body = event["body"]
    match event["kind"]:
        case "drift":
            return f"{body['id']}: {_alarms(body['alarms'])}"
        case "decided":
            return f"{body['decision']}: {' '.join(body['reasons'])}"
        case "study":
            return f"{body['id']}: {body['trials']} trials, {body['stopped']}"
        case "verdict":
            verdict = body["verdict"]
            return f"{verdict['ruling']}: {' '.join(verdict['reasons'])}"
        case "promoted":
            others = len(body["recipes"]) - 1
            more = f" and {others} more" if others else ""
            told = f"version {body['version']} ({recipe_in_short(body['recipes'][0])}{more})"
            return told + (f", by {_who(body)}" if "who" in body else "")
        case "rolled_back":
            name = f"{body['version']}.{body['revision']}"
            return f"to {name} from {body['replaces']}, by {_who(body)}"
        case "confirmed":
            return (
                f"version {body['version']} stays: not found worse than {body['predecessor']} on "
                f"{body['rows']:,} rows"
            )
        case "revised":
            name = f"{body['version']}.{body['revision']}"
            count = sum(1 for weight in body["weights"] if weight)
            return f"{name}, on {body['rows']:,} rows" + (f", {count} members" * (count > 1))
        case "operator":
            reason = f": {body['reason']}" if body["reason"] else ""
            version = f" version {body['version']}" if "version" in body else ""
            action = _WISHES.get(body["action"], body["action"])
            return f"{body['who']} asked to {action}{version}{reason}"
        case "failed":
            return f"{body['kind']} {body['order']}: {body['error']}"
        case "abandoned":
            return (
                f"{body['kind']} {body['order']} after {body['attempts']} attempts: {body['error']}"
            )
        case "imported":
            reason = f": {body['reason']}" if body["reason"] else ""
            return f"version {body['version']} by {body['who']}{reason}"
        case "restored":
            return f"{body['name']} was put back into a registry that had lost or changed it"
        case "forged":
            return f"{body['error']}{'. It was put right' * body['is_restored']}"
        case "mended":
            return (
                f"{body['put_back']} events of this history were put back into the registry, "
                f"{body['lost']} are lost"
            )
        case "rekeyed":
            return f"key {body['key']} signs from here on, for all up to {body['until']} too"
        case "pinned" | "unpinned":
            return f"version {body['version']}, by {_who(body)}"
        case "lease":
            return _lease(body)
        case "recovered":
            return f"{body['kind']} {body['order']} after {body['attempts']} attempts"
    return ""


def _who(body: Mapping[str, Any]) -> str:
    return f"{body['who']}: {body['reason']}" if body["reason"] else str(body["who"])


def lease_in_words(lease: Mapping[str, Any]) -> str:
    """Say who takes care of a model, by its lease in the JSON form; "" where it is this daemon."""
    holder = lease["holder"] or "nobody at this moment"
    if lease["role"] == "stand-in":
        return (
            f"decisions are suspended: the rows are with {lease['home']}, which is gone. Start it "
            "again, or adopt the model here (retuned adopt)"
        )
    if lease["role"] == "standby" and lease["has_rows"] and lease["holder"] is None:
        return "Redis does not answer: rows are taken, decisions wait until it does"
    return "" if lease["role"] == "holder" else f"standby; {holder} takes care of it"


def _lease(body: Mapping[str, Any]) -> str:
    if body["role"] == "stand-in":
        return (
            f"{body['holder']} stands in for {body['home']}, without its rows: it decides nothing"
        )
    return f"{body['holder']} takes care of it from now on"


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


def moment(at: float, *, zone: str = "") -> str:
    """A moment in the time zone of who reads it, with what `zone` formats (``" %Z"``)."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime(f"%Y-%m-%d %H:%M:%S{zone}")


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


def _alarms(alarms: list[dict[str, Any]]) -> str:
    if not alarms:
        return "no drift"
    found = ", ".join(f"{alarm['subject']} ({alarm['effect']:.2f})" for alarm in alarms[:_SHOWN])
    more = len(alarms) - _SHOWN
    return f"{found} and {more} more" if more > 0 else found
