"""Training of the compact model: cached pictures, forgeries on the fly, stages with checkpoints."""
