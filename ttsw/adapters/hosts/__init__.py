"""Where an engine's code runs: in threads of this process (`thread`), or in a process of its own (`process`)."""
