"""`--model auto`: several detectors, each speaking for what it was made for (docs/how-to/panel.md)."""
