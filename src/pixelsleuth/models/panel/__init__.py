"""`--model auto`: several detectors, each speaking for what it was made for (docs/background/panel.md)."""
