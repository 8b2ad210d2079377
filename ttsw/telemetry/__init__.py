"""What a worker tells those who watch it: metrics and traces."""
