"""Models that leave the house, and models that come in."""
