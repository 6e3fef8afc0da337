"""``retuned replay``: what the daemon would have done on a file of history, and was it worth it."""
