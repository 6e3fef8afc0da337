"""Events and recipes in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retuned_pipelines.recipe import Past

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN = 4
_LOSSES = {"regression_l1": "absolute error", "huber": "Huber loss"}


def recipe_in_words(recipe: Mapping[str, Any]) -> str:
    """Say in a few words what a recipe (in its JSON form) is."""
    params = recipe["params"]
    told = [recipe["family"]]
    if "num_leaves" in params:
        told.append(f"{params['num_leaves']} leaves")
    told += [_LOSSES[loss] for loss in (params.get("objective"),) if loss in _LOSSES]
    if recipe["family"] != "constant":
        told.append(str(Past(**recipe["past"])))
    return ", ".join(told)


def tell(event: Mapping[str, Any]) -> str:  # noqa: C901 (a case a kind)
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
            return f"version {body['version']} ({body['recipes'][0]['family']}{more})"
        case "revised":
            name = f"{body['version']}.{body['revision']}"
            count = sum(1 for weight in body["weights"] if weight)
            return f"{name}, on {body['rows']:,} rows" + (f", {count} members" * (count > 1))
        case "operator":
            reason = f": {body['reason']}" if body["reason"] else ""
            return f"{body['who']} asked to {body['action']}{reason}"
        case "failed":
            return f"{body['kind']} {body['order']}: {body['error']}"
        case "abandoned":
            return (
                f"{body['kind']} {body['order']} after {body['attempts']} attempts: {body['error']}"
            )
        case "restored":
            return f"{body['name']} was given back to a registry that had lost it"
        case "recovered":
            return f"{body['kind']} {body['order']} after {body['attempts']} attempts"
    return ""


def _alarms(alarms: list[dict[str, Any]]) -> str:
    if not alarms:
        return "no drift"
    found = ", ".join(f"{alarm['subject']} ({alarm['effect']:.2f})" for alarm in alarms[:_SHOWN])
    more = len(alarms) - _SHOWN
    return f"{found} and {more} more" if more > 0 else found
