"""Workers that know of each other: registration in Redis, and discovery."""
