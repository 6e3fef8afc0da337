"""Rows and labels: taking them in, and the log that keeps them."""
