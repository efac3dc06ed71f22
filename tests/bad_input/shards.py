"""Rewrites the variables of a SavedModel as several files, as training on many machines leaves them."""

import shutil

import numpy as np

from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow


def save_in_two_shards(version):
    """Replaces the variables of the model at `version` by two others in a file each."""
    tf = import_tensorflow()
    shutil.rmtree(version / "variables")
    prefixes = [str(version / name / "part") for name in ("first", "second")]
    for index, prefix in enumerate(prefixes):
        values = tf.constant(np.ones(3 + index, np.float32))
        tf.raw_ops.SaveV2(
            prefix=prefix, tensor_names=[f"v{index}"], shape_and_slices=[""], tensors=[values]
        )
    target = version / "variables" / "variables"
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=prefixes, destination_prefix=str(target), delete_old_dirs=True
    )
