"""Plans made by hand, for tests that need no job."""

from transforms.content_options import ContentOptions
from transforms.plan import InputFile, PinnedModel, Plan
from transforms.unit_table import Unit, UnitRange, UnitTable


def piece(file_index, group, num_rows, size_bytes, first_row=0):
    """Returns one row group."""
    return UnitRange(
        file_index=file_index,
        first_group=group,
        end_group=group + 1,
        first_row=first_row,
        num_rows=num_rows,
        size_bytes=size_bytes,
    )


def _part(index, num_rows):
    """Returns a part of a TFRecord file."""
    return UnitRange(
        file_index=1,
        first_group=0,
        end_group=0,
        first_row=index * 10,
        num_rows=num_rows,
        size_bytes=1,
        first_byte=index << 40,
        end_byte=(index + 1) << 40,
    )


def make_plan(num_units=3, rows=10, versions=(1,)):
    """Returns a plan with one range of `rows` rows for each unit; -1 means unknown."""
    return Plan(
        models=tuple(
            PinnedModel(name="ranker", version=each, path=f"/m/{each}", fingerprint=f"f{each}")
            for each in versions
        ),
        inputs=(
            InputFile(path="/data/a.parquet", size_bytes=10**12, mtime_secs=1_700_000_000.123456),
            InputFile(path="s3://bucket/ü b.parquet", size_bytes=5, mtime_secs=0.0),
        ),
        units=UnitTable.of(
            Unit(index=index, ranges=(piece(0, index, rows, 100), _part(index, rows)))
            for index in range(num_units)
        ),
        content=ContentOptions(
            input_format="parquet",
            signature_name="serving_default",
            input_map=("x=[a,b]", "y=c"),
            key=None,
            passthrough=("p",),
            output_tensors=(),
            preprocess="a.b:c",
            postprocess=None,
            deterministic_batch_size=128,
            deterministic_threads=(1, 4),
        ),
        read_columns=("a", "b", "c", "p"),
        features={"a": ("float", None, False), "b": ("int64", 3, True)},
        reads_records=False,
        batch_size_hint=4096,
        flags={"model_version": "latest", "limit": None, "input": ["/data/*.parquet"]},
    )
