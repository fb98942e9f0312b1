"""Pictures decoded in processes of their own, with bounds on memory and time: bytes in, pixels or an error out."""
