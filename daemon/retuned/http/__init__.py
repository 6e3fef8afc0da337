"""The HTTP surface. Status codes exist here only."""
