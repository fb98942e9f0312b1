"""Verdicts, detectors, decisions, settings and files, for every other room. It imports neither torch nor a model."""
