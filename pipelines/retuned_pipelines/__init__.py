"""The functional core of retuned: pure functions and frozen values.

Data, the time and random generators come in as arguments; values go out. Nothing
here reads a clock, a file or the network, and nothing here imports ``retuned``.
"""
