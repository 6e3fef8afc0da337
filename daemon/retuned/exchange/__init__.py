"""Models that leave, models that come in, and models that are fitted once more."""
