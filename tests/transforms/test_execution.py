import pytest

from servable_core.errors import InvalidArgumentError
from servable_core.servables.saved_model.tensorflow_runtime import TensorFlowThreads
from servable_core.servables.signature import TensorSpec
from transforms.execution import (
    ExecutionOptions,
    batch_size_for,
    batch_threads,
    tensorflow_threads,
    usable_cores,
)


def _input(dtype, *row_shape):
    return TensorSpec(name="x", dtype=dtype, shape=(None, *row_shape)), row_shape


class TestBatchSize:
    @pytest.mark.parametrize(
        ("inputs", "rows"),
        [
            ([_input("float32", 32)], 8192),  # 128 bytes a row
            ([_input("float64", 32)], 4096),
            ([_input("float32")], 65536),  # the largest
            ([_input("float32", 224, 224, 3)], 32),  # the smallest
            ([_input("string")], 4096),  # strings count as 256 bytes
            ([_input("bool", 256)], 4096),
            ([_input("bfloat16", 128)], 4096),
            ([_input("float32", -1)], 65536),  # a length that only the data tell counts as one
            ([_input("float32", 100)], 2048),  # 2621, to the nearest power of two
            ([_input("float32") for _ in range(32)], 65536),  # 8 times the target for 32 inputs
            ([_input("float32", 32) for _ in range(4)], 2048),
            ([_input("float32", 32) for _ in range(8)], 2048),
        ],
    )
    def test_table(self, inputs, rows):
        """About a mebibyte of input a batch, more with many inputs, within bounds."""
        assert batch_size_for(inputs) == rows

    @pytest.mark.parametrize("size", [1, 7, 100, 1000, 10_000])
    def test_is_a_power_of_two(self, size):
        """Sizes are few, so that batches have few shapes."""
        rows = batch_size_for([_input("float32", size)])
        assert rows.bit_count() == 1


class TestThreads:
    def test_batch_threads(self):
        """As asked, or two per GPU, or one per core."""
        assert batch_threads(ExecutionOptions(num_batch_threads=3), num_gpus=2) == 3
        assert batch_threads(ExecutionOptions(), num_gpus=2) == 4
        assert batch_threads(ExecutionOptions(), num_gpus=0) == usable_cores()

    def test_tensorflow_threads(self):
        """A thread per core keeps each call on its core, and never makes calls take turns."""
        threads = tensorflow_threads(usable_cores(), num_gpus=0)
        assert threads.intra_op == 1
        assert threads.inter_op >= 2
        assert tensorflow_threads(usable_cores(), num_gpus=1) == TensorFlowThreads()
        assert tensorflow_threads(0, num_gpus=0) == TensorFlowThreads()


@pytest.mark.parametrize(
    "options",
    [
        {"max_batch_size": 0},
        {"num_batch_threads": -1},
        {"max_in_flight_bytes": 0},
        {"batch_timeout_secs": 0.0},
        {"batch_timeout_secs": float("nan")},
        {"max_unit_retries": -1},
    ],
)
def test_bad_options(options):
    """Options that mean nothing are refused by the name of their flag."""
    with pytest.raises(InvalidArgumentError, match=f"--{next(iter(options))} must be"):
        ExecutionOptions(**options)
