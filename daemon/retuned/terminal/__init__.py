"""Commands that ask a running daemon, and how its answers look in a terminal."""
