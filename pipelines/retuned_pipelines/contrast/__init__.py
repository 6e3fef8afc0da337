"""Two versions side by side: their recipes, their scores on the same rows, their training data."""
