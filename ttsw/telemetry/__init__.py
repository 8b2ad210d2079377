"""Metrics, health endpoints and traces of a worker. Independent of the layers that report to it."""
