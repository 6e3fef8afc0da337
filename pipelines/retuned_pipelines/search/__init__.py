"""Search spaces and an ask/tell study over recipes."""
