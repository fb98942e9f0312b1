"""Labelled pictures: samples, manifests, group-wise splits, equalisation."""
