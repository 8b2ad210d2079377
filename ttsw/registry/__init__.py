"""Worker registry in Redis: registration and discovery.

`registrar.Registrar` keeps a worker's record up to date, at the times that `heartbeat` decides. `discovery` finds
workers and selects one. `record` defines the stored record, and `connection` the access to Redis.
"""
