"""Training of SIDA at any size: both stages, one process or many, resumable to the bit."""
