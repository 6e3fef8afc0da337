"""Metrics, time-ordered splits, paired comparison and the gate."""
