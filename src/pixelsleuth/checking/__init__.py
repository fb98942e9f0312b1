"""What `check`, `chat` and `demo` do: judge pictures, hand each verdict to every output, go on where a run stopped."""
