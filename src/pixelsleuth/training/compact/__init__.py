"""Training of the bundled detector (`kind: compact`): branches, features, heads, scores; each stage resumes."""
