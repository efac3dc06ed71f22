import numpy as np
import pyarrow as pa
import pytest

from servable_core.errors import DataLossError, InvalidArgumentError
from transforms.formats.part_writer import RowTensors
from transforms.formats.prediction_log_writer import LoggedModel
from transforms.output_formats import OUTPUT_FORMATS, check_output_format, count_rows, is_part
from transforms.storage import create_file

_MODEL = LoggedModel(name="m", version=1, signature_name="s")


@pytest.fixture(name="write", params=list(OUTPUT_FORMATS))
def _write(request, tmp_path):
    """Writes rows in one of the formats; returns the format and the path."""
    chosen = OUTPUT_FORMATS[request.param]

    def write(num_rows):
        path = str(tmp_path / f"part{chosen.suffix}")
        values = np.arange(num_rows)
        columns = pa.record_batch({"x": pa.array(values), "s": pa.array(["a\n"] * num_rows)})
        with create_file(str(tmp_path), path) as sink:
            writer = chosen.writer_for(_MODEL)(sink)
            writer.write(columns, RowTensors(outputs={"x": values}))
            writer.close()
        return chosen, path

    return write


@pytest.mark.parametrize("num_rows", [0, 1, 20_000])
def test_rows_are_counted_in_the_file(write, num_rows):
    """What the writer wrote is what the last stage counts."""
    chosen, path = write(num_rows)
    assert chosen.count_rows(path) == num_rows


def test_a_file_that_was_cut_off_is_not_counted(write, tmp_path):
    """A file without its last byte is no file of fewer rows."""
    chosen, path = write(3)
    content = (tmp_path / f"part{chosen.suffix}").read_bytes()
    (tmp_path / f"part{chosen.suffix}").write_bytes(content[:-1])
    with pytest.raises(DataLossError, match="part"):
        chosen.count_rows(path)


def test_parts_are_told_by_their_names(write, tmp_path):
    """The last stage counts a part by its name alone."""
    _, path = write(7)
    assert is_part(path)
    assert count_rows(path) == 7
    assert not is_part(str(tmp_path / "notes.txt"))


def _check(output_format="parquet", *, method="predict", log_inputs=False, **unlogged):
    flags = {f"--{name}": value for name, value in unlogged.items()}
    check_output_format(output_format, method=method, log_inputs=log_inputs, unlogged=flags)


@pytest.mark.parametrize("output_format", OUTPUT_FORMATS)
def test_flags_that_go_together(output_format):
    """Every format does by itself; columns and methods go with all but the log."""
    _check(output_format, key=None, passthrough=())
    if output_format == "prediction_log":
        _check(output_format, log_inputs=True)
    else:
        _check(output_format, method="classify", key="id")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_format": "csv"}, "must be one of parquet, tfrecord, .* got 'csv'"),
        ({"log_inputs": True}, "--log_inputs is for --output_format=prediction_log, got parquet"),
        ({"output_format": "prediction_log", "key": "id"}, "does not go with --key;"),
        (
            {"output_format": "prediction_log", "postprocess": "a:b", "method": "regress"},
            "does not go with --postprocess, --method=regress;",
        ),
    ],
)
def test_flags_that_do_not_go_together(options, message):
    """What would be dropped silently is refused with the flag."""
    with pytest.raises(InvalidArgumentError, match=message):
        _check(**options)
