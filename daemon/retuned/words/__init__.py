"""What answers of the API mean in words, for terminals and pages."""
