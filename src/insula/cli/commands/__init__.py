"""One file a noun. A command parses, calls the platform once or twice, and shows the answer."""
