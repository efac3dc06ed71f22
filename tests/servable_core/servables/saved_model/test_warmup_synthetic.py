import numpy as np

from servable_core.servables.saved_model.warmup_synthetic import synthetic_calls
from servable_core.servables.signature import SignatureSpec, TensorSpec


def _calls(batch_sizes, **inputs):
    specs = (
        TensorSpec(name=name, dtype=dtype, shape=shape) for name, (dtype, shape) in inputs.items()
    )
    spec = SignatureSpec(name="score", inputs=tuple(specs), outputs=())
    return synthetic_calls({"score": spec}, batch_sizes)


def test_one_call_for_each_size():
    """Batches have the sizes asked for, in that order, and hold zeros of the right type."""
    calls = _calls([1, 8], x=("float32", (None, 3)))
    assert [each.signature_name for each in calls] == ["score", "score"]
    assert [each.inputs["x"].shape for each in calls] == [(1, 3), (8, 3)]
    assert all(each.inputs["x"].dtype == np.float32 for each in calls)
    assert not any(each.inputs["x"].any() for each in calls)


def test_shapes():
    """Inner dimensions of any size are 1; what the signature fixes stays."""
    (call,) = _calls(
        [8],
        inner=("int64", (None, None, 2)),
        fixed=("int64", (4, 2)),
        scalar=("int64", ()),
        unknown=("int64", None),
    )
    assert {name: value.shape for name, value in call.inputs.items()} == {
        "inner": (8, 1, 2),
        "fixed": (4, 2),
        "scalar": (),
        "unknown": (8,),
    }


def test_types():
    """Strings are empty bytes; TensorFlow's own types have their zeros, too."""
    (call,) = _calls([2], text=("string", (None,)), half=("bfloat16", (None,)))
    assert call.inputs["text"].tolist() == [b"", b""]
    assert call.inputs["half"].dtype.name == "bfloat16"


def test_nothing_to_make_up():
    """A signature with an input that has no zero is left out, as are all without sizes."""
    assert _calls([1], x=("composite", None)) == []
    assert _calls([], x=("float32", (None,))) == []
