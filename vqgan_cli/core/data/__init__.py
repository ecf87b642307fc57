"""Images, label maps and codes: reading, writing, ordering."""
