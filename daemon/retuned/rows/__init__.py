"""The row logs: where rows and labels are kept."""
