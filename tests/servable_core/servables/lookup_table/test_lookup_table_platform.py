"""Lookup tables from files."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servable_core.errors import InvalidArgumentError, NotFoundError, ServableCoreError
from servable_core.lifecycle import ServableId
from servable_core.runtime.file_system import FileInfo, FileSystem, LocalFileSystem
from servable_core.servables.lookup_table import LookupTable, create_lookup_table_loader
from servable_core.servables.lookup_table.table_files import find_missing
from servable_core.testing import FakeFileSystem


def _load(path: str, file_system: FileSystem | None = None) -> LookupTable:
    loader = create_lookup_table_loader(
        ServableId("words", 1), path, file_system or LocalFileSystem()
    )
    loader.load()
    return loader.servable


def _remote(directory: Path) -> FakeFileSystem:
    """Returns the files of `directory` without local paths, below `/t`."""
    files = FakeFileSystem()
    for each in directory.iterdir():
        files.write(f"/t/{each.name}", each.read_bytes())
    return files


def test_csv_with_text_keys(tmp_path: Path) -> None:
    """Other files are read over; parts are put together."""
    (tmp_path / "part-0.csv").write_text("key,id,weight\na,1,0.5\nb,2,1\n")
    (tmp_path / "part-1.csv").write_text('key,id,weight\n"c,d",3,2.5\n')
    (tmp_path / "README").write_text("words")

    values, found = _load(str(tmp_path)).lookup(np.array(["c,d", "x", "a"]))

    assert found.tolist() == [True, False, True]
    assert values["id"].tolist() == [3, 0, 1]
    assert values["weight"].tolist() == [2.5, 0, 0.5]


@pytest.mark.parametrize("list_type", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2)])
def test_parquet_with_embeddings_and_strings(tmp_path: Path, list_type: pa.DataType) -> None:
    """Lists become matrices, strings bytes."""
    table = pa.table(
        {
            "key": pa.array([30, 10, 20]),
            "embedding": pa.array([[3, 3.5], [1, 1.5], [2, 2.5]], list_type),
            "word": ["three", "one", "é"],
        }
    )
    pq.write_table(table, tmp_path / "table.parquet", row_group_size=2)

    for loaded in (_load(str(tmp_path)), _load("/t", _remote(tmp_path))):
        values, found = loaded.lookup(np.array([[10, 20], [30, 40]]))
        assert found.tolist() == [[True, True], [True, False]]
        assert values["embedding"].dtype == np.float32
        assert values["embedding"].tolist() == [[[1, 1.5], [2, 2.5]], [[3, 3.5], [0, 0]]]
        assert values["word"].tolist() == [[b"one", "é".encode()], [b"three", b""]]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz(tmp_path: Path, save: object, order: str) -> None:
    """Compressed or not, by rows or by columns, local or not."""
    embedding = np.asarray(np.random.default_rng(0).random((100, 4), np.float32), order=order)
    keys = np.random.default_rng(1).permutation(100)
    words = np.array([f"w{key}" for key in keys])
    save(tmp_path / "table.npz", key=keys, embedding=embedding, word=words)  # type: ignore[operator]

    for loaded in (_load(str(tmp_path)), _load("/t", _remote(tmp_path))):
        values, found = loaded.lookup(keys[:50])
        assert found.all()
        assert np.array_equal(values["embedding"], embedding[:50])
        assert values["word"].tolist() == [word.encode() for word in words[:50].tolist()]


def test_uncompressed_npz_is_memory_mapped(tmp_path: Path) -> None:
    """Values stay on disk until they are looked up; so do sorted keys."""
    np.savez(tmp_path / "table.npz", key=np.arange(10), x=np.ones((10, 3)), none=np.ones((10, 0)))

    table = _load(str(tmp_path))

    assert isinstance(table.columns["x"], np.memmap)
    assert table.lookup(np.array([9]))[0]["x"].tolist() == [[1, 1, 1]]
    assert table.lookup(np.array([9]))[0]["none"].shape == (1, 0)


def test_npz_with_text_keys(tmp_path: Path) -> None:
    """A vocabulary in two arrays."""
    np.savez(tmp_path / "v.npz", key=np.array(["b", "a"]), id=np.array([1, 0]))

    values, found = _load(str(tmp_path)).lookup(np.array([b"a", b"b", b"c"]))

    assert values["id"].tolist() == [0, 1, 0]
    assert found.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("files", "error_type", "message"),
    [
        ({}, NotFoundError, "no .csv, .parquet or .npz file"),
        ({"a.csv": "k,v\n1,2\n"}, NotFoundError, "no column 'key'; it has 'k', 'v'"),
        (
            {"a.csv": "key,v\n1,2\n", "a.npz": "x"},
            InvalidArgumentError,
            "several kinds: .csv, .npz; expected one",
        ),
        ({"a.npz": "", "b.npz": ""}, InvalidArgumentError, "2 .npz files; expected one"),
        ({"a.npz": "no zip"}, InvalidArgumentError, "cannot be read"),
        ({"a.parquet": "no parquet"}, InvalidArgumentError, "cannot be read"),
        ({"a.csv": "key,v\n1,2\n1,3\n"}, InvalidArgumentError, "words/1 at .*comes twice"),
        ({"a.csv": "key,v\n1,2\n2\n"}, InvalidArgumentError, "Expected 2 columns, got 1"),
        ({"a.csv": "key,v\n1,2\n2,\n"}, InvalidArgumentError, "column 'v' has 1 nulls"),
        ({"a.csv": "key,v\n1,2\n", "b.csv": "key\n2\n"}, InvalidArgumentError, "has 1 nulls"),
        ({"a.csv": "key,v\n1,2\n", "b.csv": "key,v\nx,2\n"}, InvalidArgumentError, "merge"),
    ],
)
def test_bad_tables_fail_to_load(
    tmp_path: Path, files: dict[str, str], error_type: type[ServableCoreError], message: str
) -> None:
    """The message says what is wrong and where."""
    for name, content in files.items():
        (tmp_path / name).write_text(content)

    with pytest.raises(error_type, match=message):
        _load(str(tmp_path))


@pytest.mark.parametrize(
    "string_type",
    [pa.dictionary(pa.int32(), pa.string()), pa.string_view(), pa.large_string()],
    ids=str,
)
def test_strings_are_bytes_however_a_file_stores_them(
    tmp_path: Path, string_type: pa.DataType
) -> None:
    """Writers of categories make dictionaries of them."""
    words = pa.array(["one", "é"]).cast(string_type)
    pq.write_table(pa.table({"key": words, "word": words}), tmp_path / "table.parquet")

    values, found = _load(str(tmp_path)).lookup(np.array(["é", "x", "one"]))

    assert values["word"].tolist() == ["é".encode(), b"", b"one"]
    assert found.tolist() == [True, False, True]


def test_lists_of_several_lengths_are_refused(tmp_path: Path) -> None:
    """They are no embeddings."""
    pq.write_table(pa.table({"key": [1, 2], "v": [[1.0], [1.0, 2.0]]}), tmp_path / "t.parquet")

    with pytest.raises(InvalidArgumentError, match="column 'v' has lists of 1 to 2 values"):
        _load(str(tmp_path))


@pytest.mark.parametrize("is_local", [True, False])
def test_pickled_objects_are_refused(tmp_path: Path, is_local: bool) -> None:
    """To load a table never runs code from it."""
    np.savez(tmp_path / "t.npz", key=np.array([1]), v=np.array([{}], np.object_))

    with pytest.raises(InvalidArgumentError, match="bject"):
        _load(str(tmp_path)) if is_local else _load("/t", _remote(tmp_path))


def test_a_version_without_a_table_is_not_complete() -> None:
    """A marker file alone is no table."""
    file = FileInfo(path="/t/x", size_bytes=1)

    assert find_missing({"part-0.parquet": file, "_SUCCESS": file}) is None
    assert find_missing({"_SUCCESS": file}) == "it has no .csv, .parquet or .npz file"
