"""The composition root: builds everything and hands it to each other; nothing else does."""
