"""Shared by the torch families: batched decode steps, paged KV caches, safe weight files, cached voices."""
