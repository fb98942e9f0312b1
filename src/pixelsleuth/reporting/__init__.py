"""Verdicts shown to people: words, terminal text, the HTML report."""
