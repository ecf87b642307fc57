"""From a prior to codes: filters, random numbers, cached sampling, and the sliding window."""
