"""Voice packs: the catalogue on disk, their metadata, and installing, downloading and removing them."""
