"""Python environments of engine families: where they are, how they are installed, and running code in them."""
