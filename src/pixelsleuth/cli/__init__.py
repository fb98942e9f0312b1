"""The `pixelsleuth` command: one file a command, parsing only."""
