"""The data plane: plan, read, bind, infer, write, commit; Beam transforms are thin shells over it."""
