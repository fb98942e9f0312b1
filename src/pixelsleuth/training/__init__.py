"""Training by recipes: SIDA, the baselines, FakeVLM, So-Fake-R1 and the bundled detector; `run` holds the loop."""
