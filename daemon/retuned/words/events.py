"""Events in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retuned.words.recipes import recipe_in_short

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN = 4

_WISHES = {"rollback": "roll back to", "stop-study": "stop study"}
"""What an operator asked for, where the name of it is no verb."""


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
            of = f" version {body['version']}" if "version" in body else ""
            of += f" {body['study']}" if "study" in body else ""
            action = _WISHES.get(body["action"], body["action"])
            return f"{body['who']} asked to {action}{of}{reason}"
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


def _lease(body: Mapping[str, Any]) -> str:
    if body["role"] == "stand-in":
        return (
            f"{body['holder']} stands in for {body['home']}, without its rows: it decides nothing"
        )
    return f"{body['holder']} takes care of it from now on"


def _alarms(alarms: list[dict[str, Any]]) -> str:
    if not alarms:
        return "no drift"
    found = ", ".join(f"{alarm['subject']} ({alarm['effect']:.2f})" for alarm in alarms[:_SHOWN])
    more = len(alarms) - _SHOWN
    return f"{found} and {more} more" if more > 0 else found
