"""Pictures and verdicts: the vocabulary that every other room speaks. Imports neither torch nor a model."""
