"""Networks that several detectors stand on, under the names that published checkpoints use."""
