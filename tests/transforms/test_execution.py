import math

import pytest

from servable_core.errors import InvalidArgumentError
from servable_core.servables.saved_model.tensorflow_runtime import TensorFlowThreads
from servable_core.servables.signature import TensorSpec
from transforms import execution
from transforms.execution import (
    ExecutionOptions,
    batch_size_for,
    batch_threads,
    cgroup_directories,
    parse_cpu_max,
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
            ([_input("float32", -1)], 4096),  # a length that only the data tell counts as 64
            ([_input("float32", 100)], 2048),  # 2621, to the nearest power of two
            ([_input("float32") for _ in range(32)], 65536),  # 8 times the target for 32 inputs
            ([_input("float32", 32) for _ in range(4)], 2048),
            ([_input("float32", 32) for _ in range(8)], 2048),
            ([_input("float32") for _ in range(300)], 8192),  # 16 MiB at most
            ([_input("float32", 64) for _ in range(32)], 1024),
            ([_input("float32", 224, 224, 3) for _ in range(300)], 32),  # more is unavoidable
        ],
    )
    def test_table(self, inputs, rows):
        """About a mebibyte of input a batch, more with many inputs, within bounds."""
        assert batch_size_for(inputs) == rows

    @pytest.mark.parametrize("num_inputs", [1, 4, 31, 32, 100, 300, 1000, 5000])
    @pytest.mark.parametrize("size", [1, 3, 10, 100])
    def test_bytes_are_bounded(self, num_inputs, size):
        """However many inputs there are, a batch of more than the fewest rows has 16 MiB at most."""
        rows = batch_size_for([_input("float32", size)] * num_inputs)
        assert rows == 32 or rows * 4 * size * num_inputs <= 16 << 20

    @pytest.mark.parametrize("size", [1, 7, 100, 1000, 10_000])
    def test_is_a_power_of_two(self, size):
        """Sizes are few, so that batches have few shapes."""
        rows = batch_size_for([_input("float32", size)])
        assert rows.bit_count() == 1


class TestUsableCores:
    @pytest.mark.parametrize(
        ("text", "cores"),
        [
            ("200000 100000\n", 2.0),
            ("50000 100000", 0.5),
            ("max 100000\n", math.inf),
            ("-1\n 100000\n", math.inf),  # cgroup v1 without a limit
            ("150000\n 100000\n", 1.5),
            ("", math.inf),
            (" ", math.inf),
            ("0 100000", math.inf),
            ("100000 0", math.inf),
            ("100000", math.inf),
            ("what is this", math.inf),
        ],
    )
    def test_quota(self, text, cores):
        """Quota by period; whatever cannot be understood is no limit."""
        assert parse_cpu_max(text) == cores

    @pytest.mark.parametrize(
        ("membership", "more"),
        [
            ("0::/\n", []),
            ("0::/a.slice/b\n", ["a.slice", "a.slice/b"]),
            (
                "4:memory:/m\n3:cpu,cpuacct:/docker/c\n1:name=systemd:/s\n",
                ["cpu,cpuacct/docker", "cpu,cpuacct/docker/c"],
            ),
            ("2:cpuset:/x\n1:cpu:/\n", []),
            ("0::/../../other\n", []),  # seen from within a namespace of its own
            ("", []),
            ("nonsense\n", []),
        ],
    )
    def test_directories(self, membership, more):
        """A process is bound by its group, those above it, and the root of a container."""
        assert cgroup_directories(membership) == ["", "cpu", "cpu,cpuacct", *more]

    @pytest.mark.parametrize(
        ("files", "cores"),
        [
            ({}, math.inf),
            ({"cpu.max": "200000 100000"}, 2.0),
            ({"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3.0),
            ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
            ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ],
    )
    def test_smallest_quota_of_the_files(self, tmp_path, files, cores):
        """The files of both kinds of control groups are found, and the tightest of them counts."""
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        (tmp_path / "membership").write_text("0::/a/b\n")
        assert execution._cgroup_cores(tmp_path, tmp_path / "membership") == cores
        assert execution._cgroup_cores(tmp_path / "none", tmp_path / "none") == math.inf

    @pytest.mark.parametrize(("quota", "cores"), [(0.3, 1), (1.0, 1), (1.2, 2), (2.0, 2)])
    def test_the_quota_counts(self, monkeypatch, quota, cores):
        """A process gets no more threads than its quota keeps busy, and at least one."""
        monkeypatch.setattr(execution.os, "sched_getaffinity", lambda _pid: set(range(64)))
        monkeypatch.setattr(execution, "_cgroup_cores", lambda *_paths: quota)
        assert usable_cores() == cores

    def test_the_affinity_counts(self, monkeypatch):
        """A quota above the cores of the process changes nothing."""
        monkeypatch.setattr(execution.os, "sched_getaffinity", lambda _pid: {0, 1, 2})
        for quota in (8.0, math.inf):
            monkeypatch.setattr(execution, "_cgroup_cores", lambda *_paths, quota=quota: quota)
            assert usable_cores() == 3


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
