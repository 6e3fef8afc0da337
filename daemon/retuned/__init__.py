"""The shell of retuned: storage, processes, time, HTTP and signals.

It holds no statistics and no rules. It asks ``retuned_pipelines`` what to do and
carries out the answer.
"""

__version__ = "0.1.0"
