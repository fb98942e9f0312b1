"""Forgeries made from photographs, each with a full record of what was done."""
