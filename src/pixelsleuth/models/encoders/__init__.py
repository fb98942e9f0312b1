"""Vision encoders that SIDA can be composed with: `forensic` (this project's own, small)."""
