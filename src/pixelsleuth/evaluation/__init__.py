"""Evaluation: metrics, perturbations, protocols, and one run that puts them together (`pixelsleuth evaluate`)."""
