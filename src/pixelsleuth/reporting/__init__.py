"""Verdicts shown to people: words, terminal text, the HTML report, heat maps and mask files."""
