"""A ModelSpec: one model under care and the policies that the care follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from retuned_pipelines.schema import Feature, Task


class Method(StrEnum):
    """How a study chooses what to try next."""

    AUTO = "auto"
    GRID = "grid"
    RANDOM = "random"
    QUASIRANDOM = "quasirandom"
    BAYESIAN = "bayesian"
    GENETIC = "genetic"
    CMAES = "cmaes"
    HALVING = "halving"
    HYPERBAND = "hyperband"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPolicy:
    """When to look for change, and what counts as one.

    Attributes:
        every_rows: rows between two checks.
        min_rows: labelled rows before a first champion is fitted.
        reference_rows: rows of the reference at the most; the newest ones count.
        input_alpha: false-discovery rate over the features of one check.
        input_effect: smallest KS distance or Cramér's V that is an alarm.
        loss_alpha: level of the test on the champion's loss.
        loss_effect: smallest relative rise of the loss that is an alarm (0.05 is 5 %).
        refresh_share: refit the champion's members when this share of all labelled rows is
            newer than they are (0.02 is two per cent).
    """

    every_rows: int = 1000
    min_rows: int = 500
    reference_rows: int = 5000
    input_alpha: float = 0.05
    input_effect: float = 0.1
    loss_alpha: float = 0.01
    loss_effect: float = 0.05
    refresh_share: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPolicy:
    """What one study may try, and how much it may cost.

    Attributes:
        method: how recipes are chosen after the default and the champion's.
        families: model families that may be tried.
        trials: trials at the most, those on a share of the rows included.
        random_trials: random trials before Bayesian ones (methods auto, halving, hyperband).
        batch: recipes asked for at a time; fixed, so that results do not depend on workers.
        folds: time-ordered validation folds.
        budget_s: elapsed seconds at the most; a study cut off by it is not reproducible.
        budget_cpu_s: CPU seconds of all trials at the most, likewise; 0 for no limit.
        min_gain: a study ends when it is expected to gain less than this share of the best
            trial's loss; 0 for never.
        trial_s: elapsed seconds of one trial at the most.
        trial_mb: memory that one trial may allocate, in megabytes.
        max_rows: labelled rows that a study looks at, at the most; the newest count.
        cooldown_rows: labelled rows between two studies that drift may start.
        seed: seed of everything random.
    """

    method: Method = Method.AUTO
    families: tuple[str, ...] = ("lightgbm", "linear")
    trials: int = 40
    random_trials: int = 10
    batch: int = 4
    folds: int = 3
    budget_s: float = 900.0
    budget_cpu_s: float = 0.0
    min_gain: float = 0.005
    trial_s: float = 120.0
    trial_mb: int = 2000
    max_rows: int = 50_000
    cooldown_rows: int = 2000
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """What a challenger must show.

    Attributes:
        blocks: blocks of the newest rows on which challenger and champion are compared.
        min_blocks: fewer blocks than this are a refusal.
        block_rows: rows of one block at the least.
        max_rows: rows of all blocks at the most.
        share: share of the labelled rows that is kept from the study for the gate.
        min_gain: the lower bound of the gain must be above this share of the loss.
        margin: not worse than this share of the loss counts as equal (and simpler wins).
        confidence: one-sided confidence of the bounds; 1 less the error that a reign may spend.
        guards: scorer names whose scores must not fall.
        guard_margin: a guard's loss, or the loss on a slice, may rise by this share.
        slices: columns on whose categories the loss must not rise; the target for classes.
        slice_rows: categories with fewer rows in the gate are not looked at.
        probation_rows: labels on which a new champion is compared with the one before it, which
            comes back if it was better; 0 for no such comparison.
    """

    blocks: int = 8
    min_blocks: int = 4
    block_rows: int = 25
    max_rows: int = 4000
    share: float = 0.2
    min_gain: float = 0.0
    margin: float = 0.005
    confidence: float = 0.95
    guards: tuple[str, ...] = ()
    guard_margin: float = 0.05
    slices: tuple[str, ...] = ()
    slice_rows: int = 100
    probation_rows: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServePolicy:
    """What answers requests.

    Attributes:
        max_members: members of the champion at the most; with 1, one model answers at a time.
        max_predict_ms: milliseconds that all members may take for one row; the least weighty
            ones have to leave until it fits. 0 for no limit.
        log_predictions: share of the rows with an id whose predictions are logged.
        log_days: days for which they are kept.
        log_rows: predictions that are kept at the most.
    """

    max_members: int = 7
    max_predict_ms: float = 0.0
    log_predictions: float = 1.0
    log_days: float = 30.0
    log_rows: int = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPolicy:
    """When a label is too late.

    Attributes:
        horizon_s: seconds after a row within which its label has to come; after that it is
            one that never came. 0 for no limit.
    """

    horizon_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinePolicy:
    """What is kept of refused rows and labels.

    Attributes:
        max_rows: records at the most; the one that was longest not sent again leaves first.
    """

    max_rows: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RetainPolicy:
    """How much of the past is kept; 0 is everything.

    What the champion's evidence and the next study need is kept whatever is said here.

    Attributes:
        rows: rows at the most.
        days: days that a row is kept, by its time.
        mb: megabytes of rows at the most.
    """

    rows: int = 0
    days: float = 0.0
    mb: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulePolicy:
    """When to search without any other reason; at most one of the two is set.

    Attributes:
        cron: five fields as in crontab, UTC; "" for none.
        every_s: seconds between two studies; 0 for none.
    """

    cron: str = ""
    every_s: float = 0.0


class Reaction(StrEnum):
    """What a change of the columns leads to."""

    REFUSE = "refuse"
    IGNORE = "ignore"
    ADOPT = "adopt"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaPolicy:
    """What happens when rows do not have the columns that the model knows.

    Attributes:
        appeared: an unknown column. Refuse its rows, ignore the column, or adopt it as a feature
            that older rows lack.
        vanished: a known column that no row of a batch has. Refuse its rows, ignore it (the
            values are missing), or adopt it: the same, and the column is shown as gone.
        changed: a value of another type. Refuse its row, ignore the value (it is missing), or
            adopt the type: the feature becomes one that takes both.
    """

    appeared: Reaction = Reaction.REFUSE
    vanished: Reaction = Reaction.IGNORE
    changed: Reaction = Reaction.REFUSE


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsPolicy:
    """Which rows are taken.

    Attributes:
        max_ahead_s: seconds that a row's time may be ahead of the clock; 0 for any.
        max_age_s: seconds that it may be behind; 0 for any.
    """

    max_ahead_s: float = 86_400.0
    max_age_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model under care.

    Attributes:
        name: ``[a-z][a-z0-9_-]{0,62}``.
        task: what it predicts.
        target: the field that holds the label.
        time: the field that holds a row's time; "" where arrival is the time.
        id: the field that holds a row's id.
        metric: scikit-learn scorer name; higher is better.
        features: the features and their kinds; empty where the first rows tell.
    """

    name: str
    task: Task
    target: str
    metric: str
    time: str = ""
    id: str = "id"
    features: tuple[Feature, ...] = ()
    rows: RowsPolicy = field(default_factory=RowsPolicy)
    schema: SchemaPolicy = field(default_factory=SchemaPolicy)
    watch: WatchPolicy = field(default_factory=WatchPolicy)
    search: SearchPolicy = field(default_factory=SearchPolicy)
    gate: GatePolicy = field(default_factory=GatePolicy)
    schedule: SchedulePolicy = field(default_factory=SchedulePolicy)
    serve: ServePolicy = field(default_factory=ServePolicy)
    retain: RetainPolicy = field(default_factory=RetainPolicy)
    labels: LabelPolicy = field(default_factory=LabelPolicy)
    quarantine: QuarantinePolicy = field(default_factory=QuarantinePolicy)


DEFAULT_METRIC = {
    Task.BINARY: "neg_log_loss",
    Task.MULTICLASS: "neg_log_loss",
    Task.REGRESSION: "neg_mean_absolute_error",
}
