"""Evaluation of model versions against each other: rows, slices, results, gates.

    labelled rows ─▶ predictions of N versions ─▶ EvaluationBatch ─▶ metrics' states ─▶ results ─▶ verdict

Nothing here knows of Beam; `transforms.evaluate` and `pipelines.evaluate` do.
"""
