"""The service: an HTTP API, its web page, and what they need; needs the extra `serve`."""
