"""Measurements of change in inputs and performance, and the report of one check."""
