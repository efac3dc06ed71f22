from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.errors import DataLossError
from transforms.formats.parquet import read_footer, read_head, read_rows, share_out


@pytest.fixture(name="table")
def _table():
    return pa.table({"id": range(20), "x": np.arange(20) / 2, "s": [f"row {i}" for i in range(20)]})


@pytest.fixture(name="path")
def _path(table, tmp_path):
    """Twenty rows in row groups of six."""
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=6)
    return str(tmp_path / "a.parquet")


def test_footer(path, table):
    """The footer tells schema, rows and sizes of the row groups."""
    footer = read_footer(path)
    assert footer.schema.equals(table.schema)
    assert [group.num_rows for group in footer.row_groups] == [6, 6, 6, 2]
    assert all(group.size_bytes > 0 for group in footer.row_groups)


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_sizes_are_those_of_the_compressed_data(tmp_path, compression):
    """Row groups have together the bytes of their column chunks, and each about its own."""
    numbers = np.arange(40_000) % np.repeat([3, 1000, 7, 40_000], 10_000)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": numbers}), path, row_group_size=10_000, compression=compression)
    metadata = pq.read_metadata(path)
    exact = [metadata.row_group(i).column(0).total_compressed_size for i in range(4)]
    sizes = [group.size_bytes for group in read_footer(str(path)).row_groups]
    assert sum(sizes) == pytest.approx(sum(exact), rel=0.01)
    assert sizes == pytest.approx(exact, abs=0.15 * sum(exact))


@given(st.integers(0, 10**12), st.lists(st.integers(-1, 10**12), max_size=50))
def test_shares(total, weights):
    """Shares are in proportion, and miss no more of the total than is lost by rounding."""
    shares = share_out(total, weights)
    assert len(shares) == len(weights)
    assert all(share >= 0 for share in shares)
    if weights:
        assert total - len(weights) < sum(shares) <= total
    ordered = [share for _, share in sorted(zip(weights, shares, strict=True))]
    assert ordered == sorted(ordered)


class TestSchemas:
    def _footer(self, table, path):
        pq.write_table(table, path)
        return read_footer(str(path))

    def test_equal_ones_are_one_object(self, table, tmp_path):
        """Many files of one schema hold it once."""
        schemas = [self._footer(table, tmp_path / f"{i}.parquet").schema for i in range(3)]
        assert schemas[1] is schemas[0]
        assert schemas[2] is schemas[0]

    def test_others_are_told_apart(self, table, tmp_path):
        """Files of another schema get their own: other types, names, or what only Arrow tells."""
        tables = [
            table,
            table.rename_columns(["id", "y", "s"]),
            table.set_column(1, "x", pa.array(np.arange(20, dtype=np.float32))),
            table.set_column(2, "s", table["s"].cast(pa.large_string())),
            table,
        ]
        for index, each in enumerate(tables):
            footer = self._footer(each, tmp_path / f"{index}.parquet")
            assert footer.schema.equals(each.schema)


@pytest.mark.parametrize(
    ("groups", "rows"), [((0, 4), (0, 20)), ((1, 3), (6, 18)), ((3, 4), (18, 20))]
)
@pytest.mark.parametrize("batch_rows", [1, 5, 6, 100])
def test_row_groups(path, table, groups, rows, batch_rows):
    """A range of row groups gives their rows in order, in batches of a bounded size."""
    batches = list(read_rows(path, *groups, ["s", "id"], batch_rows))
    assert max(batch.num_rows for batch in batches) <= batch_rows
    read = pa.Table.from_batches(batches).select(["id", "s"])
    assert read.equals(table.select(["id", "s"]).slice(rows[0], rows[1] - rows[0]))


def test_columns(path):
    """Only the columns asked for are read."""
    (batch,) = read_rows(path, 0, 1, ["x"], 100)
    assert batch.schema.names == ["x"]


def test_no_columns(path):
    """Rows without columns are still counted."""
    batches = list(read_rows(path, 0, 4, [], 100))
    assert sum(batch.num_rows for batch in batches) == 20
    assert all(batch.num_columns == 0 for batch in batches)


@pytest.mark.parametrize("num_rows", [1, 6, 7, 20])
def test_head(path, table, num_rows):
    """The first rows come with all columns, no more of them than the first batch."""
    head = read_head(path, num_rows)
    assert head.equals(table.slice(0, head.num_rows))
    assert 1 <= head.num_rows <= num_rows


def test_head_of_nothing(tmp_path):
    """A file without rows has a head without rows, but with columns."""
    pq.write_table(pa.table({"a": pa.array([], pa.int8())}), tmp_path / "e.parquet")
    head = read_head(str(tmp_path / "e.parquet"), 5)
    assert (head.num_rows, head.schema.names) == (0, ["a"])


def test_missing_files_are_no_data_loss(tmp_path):
    """What the operating system says is passed on: it may pass by itself."""
    with pytest.raises(FileNotFoundError):
        read_footer(str(tmp_path / "nothing.parquet"))


class TestCorruption:
    @pytest.mark.parametrize("keep", [0, 3, 100, -1])
    def test_truncated(self, path, tmp_path, keep):
        """A file that was cut anywhere has no footer at its end."""
        content = Path(path).read_bytes()[:keep]
        cut = tmp_path / "cut.parquet"
        cut.write_bytes(content)
        with pytest.raises(DataLossError, match="cannot be read as Parquet"):
            read_footer(str(cut))

    def test_messages_are_one_printable_line(self, path, tmp_path):
        """Arrow quotes the bytes of a corrupt footer; messages do not."""
        content = bytearray(Path(path).read_bytes())
        content[-60:-8] = b"\xff" * 52
        (tmp_path / "bad.parquet").write_bytes(bytes(content))
        with pytest.raises(DataLossError) as caught:
            read_footer(str(tmp_path / "bad.parquet"))
        assert str(caught.value).isprintable()

    def test_damaged_pages(self, table, tmp_path):
        """Damage in the data shows when they are read."""
        path = tmp_path / "damaged.parquet"
        pq.write_table(table, path, use_dictionary=False, compression="snappy")
        offset = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
        content = bytearray(path.read_bytes())
        content[offset : offset + 30] = b"\xff" * 30
        path.write_bytes(bytes(content))
        assert read_footer(str(path)).row_groups[0].num_rows == 20
        with pytest.raises(DataLossError, match=str(path)):
            list(read_rows(str(path), 0, 1, ["x"], 100))
