"""Untrusted files to pictures: formats, headers, decoding, colour, EXIF. Imports neither torch nor a model."""
