"""Running studies, verdicts and refits: child processes, their limits, what they cost."""
