"""What a worker tells those who watch it: metrics and traces. Knows nothing of those who do the work: they call it."""
