"""Throughput of the project beside a hand-written loop and two rivals; `python -m benchmarks.run` runs them all."""
