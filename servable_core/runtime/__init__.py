"""Clock, threads, retries, aborts, files: all that touches the outside, as arguments for the rest."""
