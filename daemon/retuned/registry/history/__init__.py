"""The history of each model: a chain of events in Redis, with a verified copy in the journal."""
