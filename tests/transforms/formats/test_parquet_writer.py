import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from servable_core.errors import InternalError, InvalidArgumentError
from tests.transforms.formats.arrow_columns import ALL
from transforms.formats import parquet_writer
from transforms.formats.parquet_writer import ParquetWriter
from transforms.storage import create_file

_NARROWED = ("date64", "time32")  # Parquet has days and milliseconds


@pytest.fixture(name="write")
def _write(tmp_path):
    """Writes batches, and returns the path."""

    def write(*batches):
        path = tmp_path / "a.parquet"
        with create_file(str(tmp_path), str(path)) as sink:
            writer = ParquetWriter(sink)
            try:
                for each in batches:
                    writer.write(each)
                writer.close()
            except BaseException:
                writer.abandon()
                raise
        return path

    return write


@pytest.mark.parametrize("name", [name for name in ALL if name != "null_fixed_list"])
def test_every_type(write, name):
    """Each type comes back as it was, sliced or whole."""
    batch = pa.record_batch({name: ALL[name]})
    table = ds.dataset(write(batch.slice(1), batch)).to_table()
    expected = pa.Table.from_batches([batch.slice(1), batch])
    assert table.column(name).to_pylist() == expected.column(name).to_pylist()
    assert name in _NARROWED or table.schema.equals(expected.schema)


def test_null_lists_of_fixed_size(write):
    """What nobody could read back is refused; a slice without the null is good."""
    rows = pa.record_batch({"c": ALL["null_fixed_list"]})
    with pytest.raises(InvalidArgumentError, match=r"column 'c' is fixed_size_list.* with a null"):
        write(rows)
    assert pq.read_table(write(rows.slice(2)))["c"].to_pylist() == [[3.0, 4.0]]


def test_pandas(write):
    """Lists and scalars reach pandas."""
    rows = pa.record_batch({"id": pa.array([1, 2]), "x": ALL["fixed_list"].slice(0, 2)})
    frame = pd.read_parquet(write(rows))
    assert frame["id"].tolist() == [1, 2]
    assert [each.tolist() for each in frame["x"]] == [[1, 2], [3, 4]]


def test_pages_are_compressed_and_verified(write):
    """A flipped bit in a page is found by its checksum."""
    numbers = np.zeros(10_000, np.float32)
    numbers[::7] = 1.5
    path = write(pa.record_batch({"x": pa.array(numbers)}))
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    assert column.compression == "ZSTD"
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size - 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"(?i)crc|checksum"):
        pq.read_table(path, page_checksum_verification=True)


@pytest.mark.parametrize(
    ("limit", "value", "groups"),
    [("_ROW_GROUP_ROWS", 10, [12, 12, 6]), ("_ROW_GROUP_BYTES", 8 * 18, [18, 12])],
)
def test_row_groups(write, monkeypatch, limit, value, groups):
    """Batches are gathered into row groups until either limit is reached."""
    monkeypatch.setattr(parquet_writer, limit, value)
    rows = pa.record_batch({"x": pa.array(range(30))})
    metadata = pq.ParquetFile(write(*(rows.slice(each, 6) for each in range(0, 30, 6)))).metadata
    sizes = [metadata.row_group(each).num_rows for each in range(metadata.num_row_groups)]
    assert sizes == groups


def test_columns_of_no_rows(write):
    """A part may have no rows; it has columns all the same."""
    table = pq.read_table(write(pa.record_batch({"x": pa.array([], pa.int64())})))
    assert (table.num_rows, table.schema.names) == (0, ["x"])


@pytest.mark.parametrize("limit", [1, 1000])
def test_another_schema(write, monkeypatch, limit):
    """A change of type is told with both types, also after a row group."""
    monkeypatch.setattr(parquet_writer, "_ROW_GROUP_ROWS", limit)
    first = pa.record_batch({"x": pa.array([1.0])})
    with pytest.raises(InternalError, match="x was double, is int64"):
        write(first, pa.record_batch({"x": pa.array([1])}))
