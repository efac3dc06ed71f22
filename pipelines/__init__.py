"""The jobs: their options, how they are launched, and the command line."""
