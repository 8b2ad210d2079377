"""Measures what a device can do with which models: starts the server, speaks to it as clients do, looks for limits."""
