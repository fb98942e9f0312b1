"""Stage 7: a person looks at what was made; a local page, decisions in a file, agreement between reviewers."""
