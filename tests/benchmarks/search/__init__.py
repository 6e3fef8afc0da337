"""``make bench-search``: one search each, for the same seconds on the same rows."""
