"""What a replay's page, and the tables of recipes and weights, say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from retuned.demo.run import count_fits
from retuned.registry.history.events import Event, EventKind
from retuned.replay import page
from retuned.replay.history import PERIOD_US, History
from retuned.replay.outcome import Life, Outcome, Policy
from retuned.sheet import charts
from retuned.terminal.show import show
from retuned.words.recipes import names_of, recipe_in_short, shares_in_words
from retuned_pipelines.models.families import default_recipe
from retuned_pipelines.recipe import Past, Recipe
from retuned_pipelines.schema import Feature, Kind, Schema, Task
from retuned_pipelines.window import Window

DEFAULT = default_recipe(Task.REGRESSION)
LINEAR = default_recipe(Task.REGRESSION, "linear")
PERIODS = 4
YEAR_2020_US = 1_577_836_800_000_000


def on(past: Past, **changes: Any) -> dict[str, Any]:
    return Recipe.of("lightgbm", {**DEFAULT.settings, **changes}, past).to_json()


TIMED = on(Past(time_feature=True, sample_rows=40_000), objective="regression_l1")
EVERYTHING = DEFAULT.to_json()
NEWEST = on(Past(rows=500))
FOUND = on(Past(half_life_rows=100), num_leaves=11)


def history(*, is_dated: bool = True) -> History:
    rows = 100
    order = np.arange(1, rows + 1, dtype=np.int64)
    schema = Schema((Feature("x", Kind.NUMBER),))
    return History(
        window=Window(
            schema=schema,
            features=pa.table([pa.array(np.zeros(rows))], schema=schema.arrow),
            ids=pa.array([str(n) for n in range(rows)]),
            time=YEAR_2020_US + 24 * PERIOD_US * (order - 1)
            if is_dated
            else PERIOD_US * (order - 1),
            seq=order,
            label_seq=order,
            target=pa.array(np.zeros(rows)),
            as_of=rows,
        ),
        edges=(20, 40, 60, 80, 100),
    )


def event(kind: EventKind, **body: Any) -> Event:
    return Event(id="e", at=1_577_836_800.0, model="bikes", kind=kind, body=body)


def promoted(version: int, shares: Sequence[tuple[dict[str, Any], float]], **more: Any) -> Event:
    return event(
        EventKind.PROMOTED,
        version=version,
        revision=1,
        rows=20 * version,
        recipes=[recipe for recipe, _ in shares],
        weights=[weight for _, weight in shares],
        **more,
    )


def decided(decision: str, *reasons: str, effort: int = 0, saved: int = 0) -> Event:
    body = {"decision": decision, "reasons": list(reasons), "effort": effort, "saved": saved}
    return event(EventKind.DECIDED, **body)


LIFE = Life(
    name="bikes",
    metric="neg_mean_absolute_error",
    policy=Policy(name="retuned", losses=np.linspace(1.0, 0.5, 80), fits=6, promotions=2),
    champions=["", "1.1", "1.1", "2.1"],
    events=(
        promoted(1, [(EVERYTHING, 0.7), (TIMED, 0.3)], study=""),
        promoted(2, [(FOUND, 0.25), (EVERYTHING, 0.0), (TIMED, 0.75)], study="s1"),
    ),
    checks=(),
    cpu_s={"refits": 10.0, "trials": 3.0, "gate": 1.0, "watching": 4.0},
)


def rendered(*events: Event, life: Life = LIFE, is_dated: bool = True) -> str:
    lived = replace(life, events=(*life.events, *events))
    never = Policy(name="never_refitted", losses=np.ones(80), fits=1)
    outcome = Outcome(history=history(is_dated=is_dated), lives=[lived], baselines=[never])
    return page.render(outcome, "bikes.csv")


def part(html: str, title: str) -> str:
    """The section with that title, its tags left out."""
    found = re.search(rf"<section><h2>{re.escape(title)}</h2>(.*?)</section>", html, re.DOTALL)
    assert found is not None
    return re.sub(r"<[^>]+>", "|", found[1])


class Balance(HTMLParser):
    """Fails on a tag that is closed in the wrong place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (EVERYTHING, "LightGBM, defaults"),
        (TIMED, "LightGBM, absolute error, time as a feature"),
        (NEWEST, "LightGBM, newest 500 rows"),
        (FOUND, "LightGBM, 11 leaves, half-life 100 rows"),
        (on(Past(), learning_rate=0.03), "LightGBM, tuned"),
        (LINEAR.to_json(), "linear model"),
        (Recipe(family="constant").to_json(), "constant"),
    ],
)
def test_a_legend_says_what_differs_from_the_default(recipe: dict[str, Any], told: str) -> None:
    assert recipe_in_short(recipe) == told


def test_two_recipes_that_sound_the_same_are_numbered() -> None:
    twins = [on(Past(), learning_rate=rate) for rate in (0.03, 0.05, 0.03)]
    assert list(names_of(twins).values()) == ["LightGBM, tuned (1)", "LightGBM, tuned (2)"]


def test_a_page_is_well_formed_and_needs_nothing_from_elsewhere() -> None:
    html = rendered()
    Balance().feed(html)
    assert not re.search(r"<script|https?://|src=", html)


def test_rows_that_nobody_answered_are_told() -> None:
    never = Policy(name="never_refitted", losses=LIFE.policy.losses)
    answered = replace(LIFE, champions=["1.1", *LIFE.champions[1:]])
    outcome = Outcome(history=history(), lives=[answered, LIFE], baselines=[never])
    assert outcome.silence(answered) == ""
    assert "Nobody answered 20 of the rows" in outcome.silence(LIFE)
    assert "WATCH__MIN_ROWS" in page.render(outcome, "bikes.csv")


def worth(ours: tuple[float, float], **others: tuple[float, float]) -> str:
    """What is said of losses and CPU seconds."""
    lived, *baselines = (
        Policy(name=name, losses=np.full(80, loss), cpu_s=cpu_s)
        for name, (loss, cpu_s) in {"retuned": ours, **others}.items()
    )
    outcome = Outcome(history=history(), lives=[replace(LIFE, policy=lived)], baselines=baselines)
    return outcome.worth(lived)


@pytest.mark.parametrize(
    ("ours", "others", "told"),
    [
        (
            (0.9, 30.0),
            {"refit_all": (1.0, 5.0), "constant": (3.0, 0.0)},
            "10.0% below that of refit_all, the best of the others, for 6.0 times its CPU.",
        ),
        (
            (0.9, 30.0),
            {"refit_all": (1.5, 5.0), "refit_window": (1.0, 2.0)},
            (
                "10.0% below that of refit_window, the best of the others, for 15.0 times its CPU; "
                "it is 40.0% below that of refit_all, for 6.0 times its CPU."
            ),
        ),
        (
            (1.2, 30.0),
            {"refit_all": (1.5, 5.0), "persistence": (1.0, 0.0)},
            (
                "20.0% above that of persistence, the best of the others, for 30.0 CPU s where "
                "that takes none; it is 20.0% below that of refit_all, for 6.0 times its CPU."
            ),
        ),
        (
            (1.0001, 30.0),
            {"refit_all": (1.0, 5.0)},
            "about the same as that of refit_all, the best of the others, for 6.0 times its CPU.",
        ),
        (
            (0.1, 30.0),
            {"refit_all": (0.0, 5.0)},
            "above that of refit_all, the best of the others, for 6.0 times its CPU.",
        ),
    ],
)
def test_a_sentence_says_whether_it_was_worth_it_also_where_it_was_not(
    ours: tuple[float, float], others: dict[str, tuple[float, float]], told: str
) -> None:
    assert worth(ours, **others) == f"The loss of retuned is {told}"


def test_the_page_says_it_too() -> None:
    told = part(rendered(), "Was it worth it?")
    assert "The loss of retuned is 25.0% below that of never_refitted" in told


def test_weights_are_drawn_by_period_and_by_member() -> None:
    told = part(rendered(), "Weights of the members over time")
    assert "LightGBM, absolute error, time as a feature|" in told
    assert "LightGBM, 11 leaves, half-life 100 rows, found by s1" in told
    assert "LightGBM, defaults †\xa020\xa0Mar\xa02020" in told


def test_more_members_than_colours_share_the_last_one() -> None:
    many = [(on(Past(rows=100 * n)), 0.1) for n in range(1, 11)]
    told = part(
        rendered(life=replace(LIFE, events=(promoted(1, many, study=""),))),
        "Weights of the members over time",
    )
    assert "3 others" in told
    assert "newest 700 rows" in told
    assert "newest 800 rows" not in told


def test_the_past_that_is_learned_from_is_weighted_by_who_answers() -> None:
    told = part(rendered(), "How much of the past is learned from")
    assert "rows known |40|" in told
    counted = sum(0.5 ** (age / 100) for age in range(40))
    mean = 0.75 * 40 + 0.25 * counted
    assert f"learned from, mean of the members by weight |{mean:.4g}|" in told
    assert "everything, time as a feature" in told
    assert "old rows count less" in told


def test_a_stream_without_a_champion_has_no_weights_to_show() -> None:
    html = rendered(life=replace(LIFE, champions=[""] * PERIODS, events=()))
    assert "No champion served." in part(html, "Weights of the members over time")
    assert "No champion served." in part(html, "How much of the past is learned from")


def test_rows_without_times_are_counted() -> None:
    events = tuple(replace(told, at=39 * 3600.0) for told in LIFE.events)
    checks = [check(19 * 3600.0, {"temp": 0.4})]
    html = rendered(life=replace(LIFE, events=events, checks=checks), is_dated=False)
    assert "row 20" in part(html, "Loss over time")
    assert "row 20" in part(html, "Drift by feature and check")
    assert "row\xa040" in part(html, "Takeovers and verdicts")
    assert "1970" not in html


def test_compute_is_told_by_purpose_the_dearest_first() -> None:
    told = part(rendered(), "Where the compute went")
    assert re.findall(r"\|([\d.]+)\|", told) == ["10.0", "4.0", "3.0", "1.0"]
    assert "18.0 together" in told


def test_what_was_decided_against_is_counted_and_costed_by_the_runs_own_refits() -> None:
    told = part(
        rendered(
            decided("refresh", "9 labels came.", effort=2_000_000),
            decided("nothing", "Inputs drifted (x), but the loss did not rise.", saved=400_000),
            decided("nothing", "Inputs drifted (x), but the loss did not rise.", saved=600_000),
            decided("nothing", "9 labels came.", "No gain: the last fits cut.", saved=100_000),
            decided("retune", "First study.", effort=300_000),
        ),
        "What was decided against, and what that saved",
    )
    cells = [text for text in told.split("|") if text]
    drifted = cells.index("Inputs drifted, the loss did not rise: no search")
    assert cells[drifted + 1 : drifted + 4] == ["2", "1.00", "5.0"]
    spared = cells.index("The last fits brought next to nothing: members not refitted")
    assert cells[spared + 1 : spared + 4] == ["1", "0.10", "0.5"]
    assert cells[cells.index("together") + 1 :][:2] == ["1.10", "5.5"]
    assert "Decided: a refit once, a search once, nothing 3 times." in told
    assert "cost 4.0 CPU s" in told


def test_where_nothing_was_refitted_no_seconds_are_claimed() -> None:
    told = part(
        rendered(decided("nothing", "Inputs drifted (x).", saved=400_000)),
        "What was decided against, and what that saved",
    )
    assert "unknown: no refit" in told


def test_a_takeover_is_marked_in_the_loss() -> None:
    assert rendered().count('class="mark"') == 2


def check(at: float, found: Mapping[str, float]) -> dict[str, Any]:
    measured = [
        {"subject": name, "is_alarm": effect > 0, "effect": effect}
        for name, effect in found.items()
    ]
    return {"id": "c", "at": at, "measurements": measured}


def test_features_that_never_drifted_are_only_counted() -> None:
    checks = [check(1.6e9, {"temp": 0.4, "hour": 0.0}), check(1.7e9, {"temp": 0.0, "hour": 0.0})]
    told = part(rendered(life=replace(LIFE, checks=checks)), "Drift by feature and check")
    assert "temp" in told
    assert "hour" not in told
    assert "1 others never drifted" in told
    calm = [check(1.6e9, {"temp": 0.0})]
    told = part(rendered(life=replace(LIFE, checks=calm)), "Drift by feature and check")
    assert "found no drift" in told


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (18.2, 129.0, (0, 50, 100, 150)),
        (0.0, 17_544.0, (0, 5_000, 10_000, 15_000, 20_000)),
        (0.11, 0.14, (0.11, 0.12, 0.13, 0.14)),
        (5.0, 5.0, (4, 6)),
        (0.0, 0.0, (0, 0.5)),
    ],
)
def test_numbers_beside_a_plot_are_round(low: float, high: float, ticks: tuple[float]) -> None:
    assert charts._ticks(low, high) == pytest.approx(ticks)


STANDING = {
    "weights": [0.6, 0.395, 0.005, 0.0],
    "low": [0, 0, 3, 8],
    "fitted": [9, 9, 9, 9],
    "patience": [1, 1, 1, 1],
    "mean_loss": 0.0,
    "blocks": 0,
    "leader": None,
    "recent": [],
    "gone": [False, False, False, True],
}


def test_members_are_told_by_what_they_have_to_say() -> None:
    assert shares_in_words(STANDING) == ["60.3%", "39.7%", "not asked", "retired"]
    alone = {**STANDING, "leader": 1, "gone": []}
    assert shares_in_words(alone) == ["not asked", "100.0%", "not asked", "not asked"]


def test_a_version_is_told_with_each_members_recipe_and_weight() -> None:
    recipes = (EVERYTHING, TIMED, NEWEST, LINEAR.to_json())
    version = {
        "number": 2,
        "study": "",
        "verdict": {"ruling": "promoted", "reasons": ["Better."], "rows": 90, "blocks": 9},
        "members": [{"recipe": recipe, "weight": 0.25} for recipe in recipes],
        "revisions": [{"number": 1, "created_at": 0.0, "rows": 90, "standing": STANDING}],
    }
    console = Console(width=160)
    with console.capture() as capture:
        show(console, "one of versions", version)
    told = capture.get()
    assert "60.3%, 25.0% at the start: lightgbm, 31 leaves, all rows" in told
    assert "retired, 25.0% at the start: linear, all rows" in told
    assert "not asked, 25.0% at the start: lightgbm, 31 leaves, 500 rows" in told


def test_the_demo_counts_each_member_that_was_fitted() -> None:
    def revision(fitted: list[int], gone: list[bool]) -> dict[str, Any]:
        return {"standing": {**STANDING, "fitted": fitted, "gone": gone}}

    revisions = [
        revision([100, 100, 100], []),
        revision([120, 100, 120], []),
        revision([140, 140, 120], [False, False, True]),
    ]
    assert count_fits(revisions) == 3 + 2 + 2


def test_a_rollback_is_marked_and_its_members_answer_from_then_on() -> None:
    back = event(
        EventKind.ROLLED_BACK,
        version=1,
        revision=2,
        rows=60,
        replaces="2.1",
        recipes=[EVERYTHING, TIMED],
        weights=[0.4, 0.6],
        who="retuned",
        reason="Version 2 is worse than 1 was.",
    )
    html = rendered(back, life=replace(LIFE, champions=["", "1.1", "2.1", "1.2"]))
    assert "version 1 comes back" in html
    assert "a new version takes over" in html
    assert "to 1.2 from 2.1, by retuned: Version 2 is worse" in part(html, "Takeovers and verdicts")
