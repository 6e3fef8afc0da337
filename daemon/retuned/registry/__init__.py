"""The registry in Redis: versions, artifacts, champions, studies, events; and its journal."""
