"""The `pixelsleuth` command: one file a command, parsing only; what a command does lives in the other
rooms.
"""
