"""Networks and parts that several detectors share, under the names that published checkpoints use."""
