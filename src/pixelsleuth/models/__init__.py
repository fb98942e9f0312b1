"""Torch models, a folder each."""
