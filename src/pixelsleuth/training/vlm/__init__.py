"""Training of the vision-language models: FakeVLM by supervision, So-Fake-R1 by supervision and reinforcement."""
