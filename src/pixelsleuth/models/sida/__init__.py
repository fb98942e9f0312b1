"""SIDA (CVPR 2025): a language model with a detection token, a segmentation token and a mask decoder."""
