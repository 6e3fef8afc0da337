"""What keeps the daemon going: tasks, lanes, schedule, clock, signals, logs, metrics."""
