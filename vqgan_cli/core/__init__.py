"""Everything below the command line."""
