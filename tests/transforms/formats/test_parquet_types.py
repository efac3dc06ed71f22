import datetime as dt
import decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servable_core.errors import DataLossError
from servable_core.servables.signature import SignatureSpec, TensorSpec
from tests import memory_file_system as memory
from transforms.binding import bind
from transforms.formats.parquet import read_footer, read_head, read_rows
from transforms.input_batch import InputBatch, Origin
from transforms.tensors import to_tensors

_PAIR = pa.list_(pa.float32(), 2)
_DAY = dt.date(1970, 1, 3)


def _write(path, array, **kwargs):
    pq.write_table(pa.table({"c": array}), path, **kwargs)
    return str(path)


def _read(path, batch_rows=100):
    groups = len(read_footer(path).row_groups)
    batches = list(read_rows(path, 0, groups, ["c"], batch_rows))
    return pa.Table.from_batches(batches)["c"].combine_chunks()


def _fed(path, dtype, shape):
    """Returns what a model is fed with column c, as `shape` and `dtype` of its signature say."""
    tensor = TensorSpec(name="c", dtype=dtype, shape=(None, *shape))
    signature = SignatureSpec(name="s", inputs=(tensor,), outputs=())
    (batch,) = read_rows(path, 0, 1, ["c"], 100)
    binding = bind(signature, read_footer(path).schema, {}, has_records=False, model="m")
    origins = (Origin(path=path, first_row=0, num_rows=batch.num_rows),)
    return to_tensors(InputBatch(columns=batch, origins=origins), binding)["c"]


_NUMBERS = [
    *((dtype, [0, 1, 100]) for dtype in ("int8", "int16", "int32", "int64")),
    *((dtype, [0, 1, 200]) for dtype in ("uint8", "uint16", "uint32", "uint64")),
    *((dtype, [0.5, -1.5, np.inf]) for dtype in ("float16", "float32", "float64")),
    ("bool", [True, False, True]),
]


@pytest.mark.parametrize(("dtype", "values"), _NUMBERS)
@pytest.mark.parametrize("shape", ["scalar", "fixed", "list", "large_list", "nested"])
def test_numbers_of_each_type(tmp_path, dtype, values, shape):
    """Every type of number reaches a model that takes it, as scalars and as lists of any kind."""
    expected = np.array(values, dtype)
    data_type = pa.from_numpy_dtype(np.dtype(dtype))
    if shape == "scalar":
        path = _write(tmp_path / "a.parquet", pa.array(expected))
        np.testing.assert_array_equal(_fed(path, dtype, ()), expected, strict=True)
        return
    types = {
        "fixed": pa.list_(data_type, 3),
        "list": pa.list_(data_type),
        "large_list": pa.large_list(data_type),
        "nested": pa.list_(pa.list_(data_type, 3), 2),
    }
    row = [list(expected)] * 2 if shape == "nested" else list(expected)
    path = _write(tmp_path / "a.parquet", pa.array([row, row], types[shape]))
    assert _read(path).type == types[shape]
    fed = _fed(path, dtype, (2, 3) if shape == "nested" else (3,))
    np.testing.assert_array_equal(fed, np.array([row, row], dtype), strict=True)


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["a", "ü\n", ""]),
        pa.array(["a", "ü\n", ""], pa.large_string()),
        pa.array(["a", "ü\n", ""], pa.string_view()),
        pa.array([b"a", "ü\n".encode(), b""]),
        pa.array([b"a", "ü\n".encode(), b""], pa.large_binary()),
        pa.array([b"a", "ü\n".encode(), b""], pa.binary_view()),
        pa.array(["a", "ü\n", ""]).dictionary_encode(),
    ],
)
def test_text_of_each_type(tmp_path, array):
    """Every type of text reaches a model as its bytes."""
    fed = _fed(_write(tmp_path / "a.parquet", array), "string", ())
    assert fed.tolist() == [b"a", "ü\n".encode(), b""]


@pytest.mark.parametrize("values", [["b", "a", "b"], [7, -1, 7], [0.5, np.inf, 0.5]])
@pytest.mark.parametrize("index_type", [pa.int8(), pa.int32(), pa.uint16()])
def test_dictionaries(tmp_path, values, index_type):
    """What is coded reaches a model as its values, of whatever type, in scalars and in lists."""
    plain = pa.array(values)
    encoded = plain.dictionary_encode()
    indices = encoded.indices.cast(index_type)
    coded = pa.DictionaryArray.from_arrays(indices, encoded.dictionary)
    dtype = (
        "string" if pa.types.is_string(plain.type) else str(plain.type).replace("double", "float64")
    )
    expected = [each.encode() if isinstance(each, str) else each for each in values]
    assert _fed(_write(tmp_path / "a.parquet", coded), dtype, ()).tolist() == expected
    lists = pa.ListArray.from_arrays([0, 3], coded)
    assert _fed(_write(tmp_path / "b.parquet", lists), dtype, (3,)).tolist() == [expected]


def test_fixed_size_binary(tmp_path):
    """Hashes and the like are bytes, too."""
    path = _write(tmp_path / "a.parquet", pa.array([b"ab", b"cd"], pa.binary(2)))
    assert _fed(path, "string", ()).tolist() == [b"ab", b"cd"]


def test_lists_of_text(tmp_path):
    """Lists of strings of any kind come as matrices of bytes."""
    for value_type in (pa.string(), pa.large_string(), pa.binary(), pa.string_view()):
        path = _write(tmp_path / "a.parquet", pa.array([["a", "b"]], pa.list_(value_type)))
        assert _fed(path, "string", (2,)).tolist() == [[b"a", b"b"]]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, 2], pa.timestamp("s")), [1000, 2000]),  # Parquet has no seconds
        (pa.array([1, 2], pa.timestamp("ms")), [1, 2]),
        (pa.array([1, 2], pa.timestamp("us")), [1, 2]),
        (pa.array([1, 2], pa.timestamp("ns")), [1, 2]),
        (pa.array([1, 2], pa.timestamp("s", tz="UTC")), [1000, 2000]),
        (pa.array([-1, 2], pa.timestamp("ms", tz="+05:30")), [-1, 2]),
        (pa.array([1, 2], pa.timestamp("us", tz="Asia/Tokyo")), [1, 2]),
        (pa.array([1, 2], pa.timestamp("ns", tz="America/St_Johns")), [1, 2]),
        (pa.array([_DAY, _DAY]), [2, 2]),
        (pa.array([1, 2], pa.time32("ms")), [1, 2]),
        (pa.array([1, 2], pa.time64("ns")), [1, 2]),
        (pa.array([1, 2], pa.duration("us")), [1, 2]),
    ],
)
def test_times(tmp_path, array, expected):
    """Times and dates are counted in the unit of the file."""
    fed = _fed(_write(tmp_path / "a.parquet", array), "int64", ())
    np.testing.assert_array_equal(fed, np.array(expected, np.int64), strict=True)


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (pa.array([decimal.Decimal("1.5")]), "float32"),
        (pa.array([decimal.Decimal(2)], pa.decimal256(50, 0)), "int64"),
        (pa.array([[decimal.Decimal("1.5")]]), "float32"),
        (pa.nulls(2), "float32"),
        (pa.array([{"a": 1}]), "int64"),
        (pa.array([[{"a": 1}]]), "int64"),
        (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "int64"),
        (pa.array([1], pa.timestamp("ms")), "float32"),
        (pa.array([1], pa.timestamp("ms")), "string"),
        (pa.array([1.5]), "int64"),
    ],
)
def test_types_that_no_model_takes(tmp_path, array, dtype):
    """What would be changed silently is refused, with the column, its type and what to do."""
    path = _write(tmp_path / "a.parquet", array)
    with pytest.raises(ValueError, match=r"cannot take c \(.*no cast from .*--preprocess"):
        _fed(path, dtype, ())


def test_extension_types(tmp_path):
    """Tensors of fixed shape are the lists that they are stored as."""
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    path = _write(tmp_path / "a.parquet", pa.FixedShapeTensorArray.from_numpy_ndarray(values))
    assert read_footer(path).schema.field("c").type == pa.list_(pa.float32(), 6)
    np.testing.assert_array_equal(_fed(path, "float32", (2, 3)), values)


_PAIRS = st.none() | st.lists(st.none() | st.integers(0, 3), min_size=2, max_size=2)


class TestNullLists:
    @pytest.mark.parametrize(
        ("data_type", "values"),
        [
            (_PAIR, _PAIRS),
            (pa.list_(_PAIR), st.none() | st.lists(_PAIRS, max_size=2)),
            (pa.list_(_PAIR, 2), st.none() | st.lists(_PAIRS, min_size=2, max_size=2)),
            (pa.list_(pa.list_(pa.string()), 1), st.none() | st.just([["a", None]])),
        ],
    )
    @settings(max_examples=25, deadline=None)
    @given(data=st.data())
    def test_rows_are_read_as_written(self, tmp_path_factory, data_type, values, data):
        """Null lists of fixed size, and nulls in them, come back where they were."""
        rows = data.draw(st.lists(values, max_size=9))
        path = tmp_path_factory.mktemp("lists") / "a.parquet"
        statistics = data.draw(st.booleans())
        array = pa.array(rows, data_type)
        _write(path, array, row_group_size=4, write_statistics=statistics)
        read = list(read_rows(str(path), 0, -(-len(rows) // 4), ["c"], 3))
        assert [row for batch in read for row in batch["c"].to_pylist()] == rows
        assert all(batch.schema.field("c").type == data_type for batch in read)

    def test_other_columns_keep_their_types(self, tmp_path):
        """Columns beside null lists are what they are in files without any."""
        columns = {
            "c": pa.array([None, [1, 2]], _PAIR),
            "large": pa.array(["a", None], pa.large_string()),
            "coded": pa.array(["a", "a"]).dictionary_encode(),
            "time": pa.array([1, 2], pa.timestamp("us", tz="Asia/Tokyo")),
            "span": pa.array([1, 2], pa.duration("us")),
            "half": pa.array(np.array([1, 2], np.float16)),
            "long": pa.array([[1], []], pa.large_list(pa.uint16())),
            "a.b": pa.array([[1, 2], [3, 4]], _PAIR),
        }
        table = pa.table(columns)
        pq.write_table(table, tmp_path / "a.parquet")
        (batch,) = read_rows(str(tmp_path / "a.parquet"), 0, 1, table.schema.names, 10)
        assert pa.Table.from_batches([batch]).equals(table)
        assert batch.schema.types == table.schema.types

    def test_head(self, tmp_path):
        """A sample has them, too."""
        path = _write(tmp_path / "a.parquet", pa.array([None, [1, 2]], _PAIR))
        assert read_head(path, 5)["c"].to_pylist() == [None, [1, 2]]

    def test_remote(self, tmp_path):
        """So it is in any store."""
        memory.clear()
        path = _write(tmp_path / "a.parquet", pa.array([None, [1, 2]], _PAIR))
        memory.put("mem://bucket/a.parquet", Path(path).read_bytes())
        assert _read("mem://bucket/a.parquet").to_pylist() == [None, [1, 2]]
        memory.clear()


@pytest.mark.parametrize("is_remote", [False, True])
def test_checksums_of_pages(tmp_path, is_remote):
    """A flipped bit that decodes all the same is found where the writer has stored checksums."""
    values = pa.array(np.arange(1000, dtype=np.int64))
    options = {"use_dictionary": False, "compression": "none", "column_encoding": "PLAIN"}
    path = Path(_write(tmp_path / "a.parquet", values, write_page_checksum=True, **options))
    content = bytearray(path.read_bytes())
    content[content.index((500).to_bytes(8, "little"))] ^= 1
    path.write_bytes(bytes(content))
    memory.clear()
    memory.put("mem://bucket/a.parquet", bytes(content))
    with pytest.raises(DataLossError, match="CRC"):
        _read("mem://bucket/a.parquet" if is_remote else str(path))
    memory.clear()


def test_only_columns_asked_for_are_read(tmp_path):
    """Damage in a column that nobody wants does not matter: its pages are not touched."""
    table = pa.table({"c": np.arange(1000), "d": np.arange(1000)})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, use_dictionary=False)
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(1)
    content = bytearray(path.read_bytes())
    end = chunk.data_page_offset + chunk.total_compressed_size
    content[chunk.data_page_offset : end] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(bytes(content))
    assert len(_read(str(path))) == 1000
    with pytest.raises(DataLossError):
        list(read_rows(str(path), 0, 1, ["d"], 100))
