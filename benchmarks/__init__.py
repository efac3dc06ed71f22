"""Throughput of the project beside hand-written loops and two rivals; `python -m benchmarks.run` runs them all."""
