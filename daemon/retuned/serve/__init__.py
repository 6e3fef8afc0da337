"""The champions in memory, and on disk for when the registry is away."""
