"""FakeVLM: a LLaVA-1.5 that says whether a picture is fake and names the artefacts. See README.md."""
