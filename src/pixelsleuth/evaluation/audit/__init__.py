"""The shortcut audit: how much of a data set's labels its headers, texts and thumbnails give away on their own."""
