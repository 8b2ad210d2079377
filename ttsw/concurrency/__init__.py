"""Small tools for trio: bounded threads, restarted services, coalesced calls, the task tree as text."""
