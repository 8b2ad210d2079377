"""Load generators. Each is a process of its own, so that its work is never counted as the server's."""
