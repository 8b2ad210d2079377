"""The operating system and the process: files, locks, logs, memory, terminals, addresses."""
