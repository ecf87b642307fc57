"""Pure modules: torch and their own config only."""
