"""Models: the voice packs that describe them, and the manager that loads, lends and unloads them."""
