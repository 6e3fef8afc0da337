"""From what a source hands in to valid rows and labels, with a reason for each one refused."""
