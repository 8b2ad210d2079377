"""Workers that know of each other: registration in Redis, and discovery.

`registrar.Registrar` keeps a worker's record there, as `pulse` decides; `discovery` finds workers and picks among
them. `record` is what they exchange, `connection` how Redis is asked.
"""
