"""The service: an HTTP API and a web page over the same detectors as the command line (`pixelsleuth serve`)."""
