"""HTML pages without scripts and without anything from elsewhere: frame, tables, charts."""
