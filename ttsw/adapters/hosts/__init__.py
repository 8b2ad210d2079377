"""Hosts, which run engine code: in threads of this process (`thread`) or in a process of its own (`process`)."""
