"""The demo: a daemon as a user would start it, fed with real data as a client would."""
