"""Where rows and labels come from beside HTTP: folders and streams, all through the intake."""
