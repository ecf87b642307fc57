"""Speed against the straightforward way and against the hardware's limit, measured side by side."""
