"""Who takes care of a model where several daemons share one Redis: leases, and what they fence."""
