"""What to do next, and why: ``react(spec, state, fact) -> (state, orders)``, pure.

Facts go in (rows arrived, a measurement, a study finished, an operator's call), orders
come out (measure, study, judge, refit, publish, notify). The keeper of the shell
persists both and carries the orders out; their results come back as facts.
"""

from retuned_pipelines.care.react import react

__all__ = ["react"]
