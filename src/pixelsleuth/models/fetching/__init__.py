"""Weights over the network or from a mirror: bounded, hashed, resumed, and whole or not there at all."""
