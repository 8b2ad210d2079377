"""Terminal output and errors, shared by all commands."""
