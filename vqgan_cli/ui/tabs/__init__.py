"""A tool per file."""
