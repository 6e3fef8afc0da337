"""Model families: search space, default, build; fitting, prediction, safe artifacts."""
