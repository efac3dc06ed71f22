from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.errors import DataLossError
from transforms.byte_budget import ByteBudget
from transforms.formats import held_batches
from transforms.formats.parquet import (
    DamagedGroup,
    read_footer,
    read_good_groups,
    read_head,
    read_rows,
    share_out,
)


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

    def test_a_name_that_is_no_text(self, tmp_path):
        """Names are checked, since all that reads them takes them for text."""
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table({"some_name": [1]}), path, store_schema=False)
        path.write_bytes(path.read_bytes().replace(b"some_name", b"some\xffname"))
        with pytest.raises(DataLossError, match="the name of a column is not UTF-8"):
            read_footer(str(path))

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


class CountingBudget(ByteBudget):
    """A budget that remembers the most that all had together."""

    def __init__(self, max_bytes):
        super().__init__(max_bytes)
        self.most_bytes = 0

    def try_acquire(self, holder, num_bytes):
        is_granted = super().try_acquire(holder, num_bytes)
        self.most_bytes = max(self.most_bytes, self.held_bytes)
        return is_granted


class TestDamagedGroups:
    """Five row groups of twenty rows; damage to one of them."""

    @pytest.fixture(name="write")
    def _write(self, tmp_path):
        def write(**options):
            path = tmp_path / "a.parquet"
            table = pa.table({"id": range(100), "x": np.arange(100) / 2})
            given = {
                "row_group_size": 20,
                "use_dictionary": False,
                "write_page_checksum": True,
                "write_statistics": False,
                "compression": "none",
            }
            pq.write_table(table, path, **(given | options))
            return path

        return write

    def _damage(self, path, group, column, at=0, octets=b"\xff" * 30):
        chunk = pq.ParquetFile(path).metadata.row_group(group).column(column)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        content = bytearray(path.read_bytes())
        content[start + at : start + at + len(octets)] = octets
        path.write_bytes(bytes(content))

    def _read(self, path, groups=(0, 5), columns=("id", "x"), batch_rows=7):
        found = list(read_good_groups(str(path), *groups, list(columns), batch_rows))
        damaged = [each for each in found if isinstance(each, DamagedGroup)]
        batches = [each for each in found if not isinstance(each, DamagedGroup)]
        ids = [value for each in batches for value in each.column(columns[0]).to_pylist()]
        return ids, damaged

    @pytest.mark.parametrize("batch_rows", [1, 7, 20, 1000])
    @pytest.mark.parametrize("at", [0, 40, 100], ids=["header", "values", "later values"])
    @pytest.mark.parametrize("group", [0, 2, 4])
    def test_all_others_are_read(self, write, group, at, batch_rows):
        """No row of a damaged group comes, and every row of the others does, in any batches."""
        path = write()
        self._damage(path, group, 1, at)
        ids, damaged = self._read(path, batch_rows=batch_rows)
        lost = range(20 * group, 20 * group + 20)
        assert ids == [row for row in range(100) if row not in lost]
        assert [(each.index, each.num_rows) for each in damaged] == [(group, 20)]
        assert damaged[0].reason

    def test_the_error_names_the_group(self, write):
        """Also where batches cross its borders."""
        path = write()
        self._damage(path, 3, 0, 40)
        message = rf"^{path} is a corrupt Parquet file: row group 3 cannot be read: .*checksum"
        with pytest.raises(DataLossError, match=message):
            list(read_rows(str(path), 0, 5, ["id"], 1000))

    def test_a_page_that_hides_values(self, write):
        """A wrong count in a page's header, which no checksum covers, shifts no values unnoticed."""
        path = write(data_page_version="1.0")
        content = path.read_bytes()
        chunk = pq.ParquetFile(path).metadata.row_group(1).column(0)
        header = content[chunk.data_page_offset :][:30]
        # Thrift: field 1 of the page's own header, an i32, is 20 as a zigzag number.
        at = header.index(b"\x15\x28\x15") + 1
        self._damage(path, 1, 0, at, b"\x24")
        ids, damaged = self._read(path, columns=["id"])
        assert ids == [row for row in range(100) if row not in range(20, 40)]
        assert "18 rows, but the footer says 20" in damaged[0].reason
        for groups in ((0, 5), (1, 2)):
            with pytest.raises(DataLossError, match="row group 1 cannot be read: it has 18 rows"):
                list(read_rows(str(path), *groups, ["id"], 7))

    def test_head(self, write):
        """The first rows are those of the first good group; without one, there is an error."""
        path = write()
        self._damage(path, 0, 1)
        assert read_head(str(path), 3)["id"].to_pylist() == [20, 21, 22]
        for group in range(1, 5):
            self._damage(path, group, 0)
        with pytest.raises(DataLossError, match="row group 0 cannot be read"):
            read_head(str(path), 3)

    def test_columns_that_are_not_read(self, write):
        """Damage elsewhere in the file is nobody's concern."""
        path = write()
        self._damage(path, 2, 1)
        assert self._read(path, columns=["id"]) == (list(range(100)), [])

    def test_a_group_that_is_too_large_to_hold(self, write, monkeypatch):
        """It is decoded once to see whether it can be, and once more for its rows."""
        monkeypatch.setattr(held_batches, "MAX_HELD_BYTES", 100)
        path = write()
        assert self._read(path) == (list(range(100)), [])
        self._damage(path, 1, 0)
        ids, damaged = self._read(path)
        assert len(ids) == 80
        assert [each.index for each in damaged] == [1]

    @pytest.mark.parametrize("max_bytes", [0, 100, 330, 1000])
    def test_what_is_held_is_counted(self, write, max_bytes):
        """Rows that wait are within the bytes in flight, and decoded again where these are used up."""
        path = write()
        self._damage(path, 1, 0, 100)
        budget = CountingBudget(max_bytes)
        budget.acquire("other", 20)
        groups = read_good_groups(str(path), 0, 5, ["id", "x"], 7, budget=budget)
        ids = []
        for each in groups:
            if isinstance(each, DamagedGroup):
                assert budget.held_bytes == 20
            else:
                ids += each.column("id").to_pylist()
        assert ids == [*range(20), *range(40, 100)]
        assert budget.held_bytes == 20
        assert budget.most_bytes <= max(20, max_bytes)
        # 20 rows of 16 bytes are held together, or none are once there is no room for more.
        assert (budget.most_bytes >= 340) == (max_bytes == 1000)

    def test_nothing_stays_counted(self, write):
        """Also when nobody wants the rest."""
        budget = CountingBudget(1000)
        groups = read_good_groups(str(write()), 0, 5, ["id"], 7, budget=budget)
        next(groups)
        assert 13 * 8 <= budget.held_bytes < 20 * 8  # all but the rows that are out
        groups.close()
        assert budget.held_bytes == 0

    def test_rows_that_the_footer_makes_up(self, write, tmp_path):
        """A number of rows that is not that of the values is found before anything is read."""
        path = write()
        content = path.read_bytes()
        group = pq.ParquetFile(path).metadata.row_group(0)
        size = _zigzag(group.total_byte_size)
        # A row group ends with its bytes, its rows, the offset and length of its data.
        wrong = content.replace(size + b"\x16\x28", size + b"\x16\x26", 1)
        assert wrong != content
        path.write_bytes(wrong)
        with pytest.raises(DataLossError, match="row group 0 has 19 rows, but column 'id' 20"):
            read_footer(str(path))


def _zigzag(number):
    """Returns how Thrift's compact protocol writes a number."""
    number, octets = 2 * number, bytearray()
    while number > 127:
        octets.append(number & 127 | 128)
        number >>= 7
    return bytes([*octets, number])
