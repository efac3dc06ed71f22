from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servable_core.errors import DataLossError, InvalidArgumentError, NotFoundError
from servable_core.runtime.file_system import FileInfo
from tests import memory_file_system as memory
from tests.datasets import write_tfrecord
from transforms.formats.tfrecord_options import TFRecordOptions
from transforms.inputs import describe_inputs, detect_format, find_inputs
from transforms.storage import file_system_for


@pytest.fixture(name="tree")
def _tree(tmp_path):
    """Files of every kind, visible and hidden, empty and not."""
    files = {
        "a.parquet": b"1",
        "b.parquet": b"22",
        "c.tfrecord": b"",
        "_SUCCESS": b"",
        "sub/d.parquet": b"4",
        "sub/deeper/e.parquet": b"5",
        "_hidden/f.parquet": b"6",
        "sub/.g.parquet": b"7",
        "sub/_h.parquet": b"8",
    }
    for name, content in files.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "tree"


def _found(tree, *patterns):
    files = find_inputs([pattern.format(tree) for pattern in patterns])
    return [str(Path(each.path).relative_to(tree)) for each in files]


class TestFindInputs:
    @pytest.mark.parametrize(
        ("patterns", "names"),
        [
            (["{}/a.parquet"], ["a.parquet"]),
            (["{}/*.parquet"], ["a.parquet", "b.parquet"]),
            (["{}/[bx].parquet"], ["b.parquet"]),
            (["{}/?.parquet"], ["a.parquet", "b.parquet"]),
            (["{}/*/d.parquet"], ["sub/d.parquet"]),
            (["{}"], ["a.parquet", "b.parquet", "sub/d.parquet", "sub/deeper/e.parquet"]),
            (["{}/"], ["a.parquet", "b.parquet", "sub/d.parquet", "sub/deeper/e.parquet"]),
            (["{}/_hidden"], ["_hidden/f.parquet"]),
            (["{}/b.parquet", "{}/a.parquet"], ["a.parquet", "b.parquet"]),
            (["{}/a.parquet", "{}/a.parquet"], ["a.parquet"]),
            (["{}/*.parquet", "{}"], ["a.parquet", "b.parquet", "sub/d.parquet"]),
        ],
    )
    def test_patterns(self, tree, patterns, names):
        """Globs, directories and files give each visible file once, sorted."""
        found = _found(tree, *patterns)
        assert found[: len(names)] == names
        assert found == sorted(set(found))

    def test_directories_show_nothing_hidden(self, tree):
        """In a directory, what begins with `_` or `.` is no input, at any depth."""
        assert _found(tree, "{}") == [
            *("a.parquet", "b.parquet", "sub/d.parquet", "sub/deeper/e.parquet"),
        ]

    @pytest.mark.parametrize(
        "name", ["a[1].parquet", "what?.parquet", "a*.parquet", "[x]/a.parquet"]
    )
    @pytest.mark.parametrize("is_remote", [False, True])
    def test_exact_names_are_no_globs(self, tmp_path, name, is_remote):
        """A path that is there is meant as it stands, beside others that match it as a glob."""
        memory.clear()
        root = "mem://bucket" if is_remote else str(tmp_path)
        for each in (name, "a1.parquet", "ab.parquet", "whats.parquet", "x/a.parquet"):
            (tmp_path / each).parent.mkdir(exist_ok=True)
            (tmp_path / each).write_bytes(b"1")
            memory.put(f"mem://bucket/{each}", b"1")
        assert [each.path for each in find_inputs([f"{root}/{name}"])] == [f"{root}/{name}"]
        memory.clear()

    def test_remote_directory_with_glob_signs(self):
        """A prefix that looks like a glob is listed as it stands, too."""
        memory.clear()
        memory.put("mem://bucket/c[1]/a.parquet", b"1")
        memory.put("mem://bucket/c1/a.parquet", b"1")
        found = file_system_for("mem://bucket/c[1]").list_files("mem://bucket/c[1]")
        assert [each.path for each in found] == ["mem://bucket/c[1]/a.parquet"]
        memory.clear()

    def test_sizes_and_times(self, tree):
        """Files come with what tells whether they have changed."""
        (found,) = find_inputs([f"{tree}/b.parquet"])
        stat = (tree / "b.parquet").stat()
        assert (found.size_bytes, found.mtime_secs) == (2, stat.st_mtime)

    def test_relative_paths(self, tree, monkeypatch):
        """A relative path means the same on every worker, for it is made absolute here."""
        monkeypatch.chdir(tree)
        assert find_inputs(["a.parquet"])[0].path == f"{tree}/a.parquet"

    def test_empty_files(self, tree):
        """An empty file is no input, unless it should have had a footer."""
        with pytest.raises(NotFoundError, match="matches no file with anything in it"):
            find_inputs([f"{tree}/c.tfrecord"])
        (tree / "z.parquet").write_bytes(b"")
        assert "z.parquet" in _found(tree, "{}")

    def test_nothing_found(self, tree):
        """A pattern without matches is an error even beside one that has some."""
        with pytest.raises(NotFoundError, match=r"--input=.*/\*\.pq matches no file"):
            find_inputs([f"{tree}/*.parquet", f"{tree}/*.pq"])

    def test_empty_pattern(self):
        """Nothing does not mean the working directory."""
        with pytest.raises(InvalidArgumentError, match="--input is empty"):
            find_inputs([""])


class TestDetectFormat:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("a.parquet", "parquet"),
            ("a.PARQUET", "parquet"),
            ("a.pq", "parquet"),
            ("a.snappy.parquet", "parquet"),
            ("a.tfrecord", "tfrecord"),
            ("a.csv", "csv"),
            ("a.CSV.gz", "csv"),
            *((f"a{end}", "jsonl") for end in (".json", ".jsonl", ".ndjson", ".jsonl.gz")),
            ("a.tfrecords", "tfrecord"),
            ("a.tfrecord.gz", "tfrecord"),
            ("train.tfrecord-00000-of-00008", "tfrecord"),
        ],
    )
    def test_by_suffix(self, name, expected):
        """The usual names are known."""
        assert detect_format([FileInfo(path=f"/d/{name}", size_bytes=1)], None) == expected

    @pytest.mark.parametrize("name", ["a.txt", "parquet", "a.gz", "a.parquet.bak"])
    def test_unknown(self, name):
        """Other names tell nothing, unless the format is given."""
        files = [FileInfo(path=f"/d.parquet/{name}", size_bytes=1)]
        with pytest.raises(InvalidArgumentError, match=f"the format of /d.parquet/{name} by its"):
            detect_format(files, None)
        assert detect_format(files, "tfrecord") == "tfrecord"

    def test_mixed(self):
        """Two formats are refused with a file of each."""
        files = [FileInfo(path=path, size_bytes=1) for path in ("/a.parquet", "/b.tfrecord")]
        with pytest.raises(InvalidArgumentError, match=r"such as /a\.parquet \(parquet\) and /b"):
            detect_format(files, None)


class TestDescribeParquet:
    @pytest.fixture(name="files")
    def _files(self, tmp_path):
        pq.write_table(pa.table({"a": range(10)}), tmp_path / "1.parquet", row_group_size=4)
        pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "2.parquet")
        pq.write_table(pa.table({"a": [1.5]}), tmp_path / "3.parquet")
        return find_inputs([str(tmp_path)])

    def test_pieces_are_row_groups(self, files):
        """Each row group with rows is a piece that knows its first row in the file."""
        pieces = describe_inputs(files, "parquet", None).pieces
        assert [(p.file_index, p.first_group, p.first_row, p.num_rows) for p in pieces] == [
            *((0, 0, 0, 4), (0, 1, 4, 4), (0, 2, 8, 2)),
            (2, 0, 0, 1),
        ]
        assert all(piece.end_group == piece.first_group + 1 for piece in pieces)
        assert all(piece.size_bytes > 0 for piece in pieces)

    def test_distinct_schemas(self, files):
        """Equal schemas are told once, different ones each."""
        schemas = describe_inputs(files, "parquet", None).schemas
        assert [schema.field("a").type for schema in schemas] == [pa.int64(), pa.float64()]


class TestDescribeTFRecord:
    @pytest.fixture(name="files")
    def _files(self, tmp_path):
        for index, rows in enumerate((3, 0, 2)):
            columns = {"id": list(range(rows)), "x": [[0.5, 1.5]] * rows}
            write_tfrecord(columns, tmp_path / f"{index}.tfrecord.gz", compression="GZIP")
        return find_inputs([str(tmp_path)])

    def test_pieces_are_files(self, files):
        """A file is read whole, and only reading tells its rows."""
        description = describe_inputs(files, "tfrecord", None)
        assert [piece.num_rows for piece in description.pieces] == [-1, -1, -1]
        assert description.has_records
        (schema,) = description.schemas
        assert schema.names == ["id", "x"]
        assert schema.field("x").type == pa.list_(pa.float32(), 2)

    @pytest.mark.parametrize(
        ("limit", "expected"), [(2, [(0, 2)]), (4, [(0, 3), (2, 1)]), (9, [(0, 3), (2, 2)])]
    )
    def test_limit_counts_rows(self, files, limit, expected):
        """With a limit just enough files are counted."""
        pieces = describe_inputs(files, "tfrecord", limit).pieces
        assert [(piece.file_index, piece.num_rows) for piece in pieces] == expected

    def test_no_records_at_all(self, files):
        """Files that hold no record between them are no input."""
        with pytest.raises(NotFoundError, match=r"--input has no rows: .*1\.tfrecord\.gz could be"):
            describe_inputs(files[1:2], "tfrecord", None)

    @pytest.mark.parametrize("content", [b"PAR1" * 20, b"\x1f\x8b\x08\0" + b"\xff" * 60])
    def test_damage_is_not_taken_for_an_end(self, tmp_path, content):
        """A file of which not one record can be read is refused, also with dead letters."""
        path = tmp_path / "a.tfrecord.gz"
        path.write_bytes(content)
        options = TFRecordOptions(on_error="dead_letter")
        with pytest.raises(DataLossError, match=f"^{path} is not TFRecord, or is corrupt"):
            describe_inputs(find_inputs([str(path)]), "tfrecord", None, options=options)
