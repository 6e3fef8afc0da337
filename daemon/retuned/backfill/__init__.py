"""``retuned ingest``: a file of rows or labels, in pieces, to a running daemon."""
