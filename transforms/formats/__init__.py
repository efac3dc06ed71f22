"""Input formats: one module each, which can describe a file and read a range of it."""
