"""The routes, one noun a file: what comes in, what goes out, and the one or two calls between."""
