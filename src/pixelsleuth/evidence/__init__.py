"""What a file says by itself, beside the model and never mixed into its score: one file a kind of finding."""
