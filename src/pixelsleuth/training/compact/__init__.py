"""Training of the bundled detector (`kind: stages`): branches, features, heads, scores; each stage resumable."""
