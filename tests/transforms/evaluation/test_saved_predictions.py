import itertools
import os
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.errors import DataLossError, InvalidArgumentError, NotFoundError
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.jobs import run_job
from tests.models import save_linear, save_signatures
from tests.transforms.evaluation.saved import rows_of, save_version
from transforms.evaluation import saved_index
from transforms.evaluation.class_names import class_names_of
from transforms.evaluation.evaluation_rows import EvaluationColumns, EvaluationRows
from transforms.evaluation.prediction_choice import choose_prediction, output_specs
from transforms.evaluation.row_identity import key_numbers
from transforms.evaluation.saved_parts import PartCache, read_part
from transforms.evaluation.saved_predictions import plan_saved, read_saved, scan_saved
from transforms.evaluation.slice_catalog import build_catalog
from transforms.evaluation.slice_counts import SliceCounts
from transforms.evaluation.slices import parse_slice
from transforms.metrics import EvaluationOptions, Task


def _save(output, version, ids, num_parts=1, scale=1.0, **columns):
    """Writes predictions `p`, which are a multiple of the row's id."""
    columns = {"p": [scale * (each or 0) for each in ids], **columns}
    table = pa.table({"id": ids, **columns})
    cuts = np.linspace(0, len(ids), num_parts + 1).astype(int)
    parts = [table.slice(low, high - low) for low, high in itertools.pairwise(cuts)]
    return save_version(output, version, parts)


def _hash_to_few_bits(monkeypatch, bits):
    """Makes most keys have the same hash as others."""
    mask = np.uint64((1 << bits) - 1)
    monkeypatch.setattr(saved_index, "key_numbers", lambda *given: key_numbers(*given) & mask)


def _predictions(saved, columns=()):
    """Returns for each id the predictions of all versions."""
    found = {}
    for unit in saved.units:
        for row, *outputs in rows_of(read_saved(unit, saved, columns, ["p"])):
            assert row["id"] not in found
            found[row["id"]] = [each and each["p"] for each in outputs]
    return found


class TestMatching:
    def test_same_order(self, tmp_path):
        """Rows in the same order in the same files go together."""
        for version in (1, 2, 3):
            _save(tmp_path, version, list(range(10)), num_parts=3, scale=version)
        saved = plan_saved([str(tmp_path)], example_key="id")
        assert [each.version for each in saved.versions] == [1, 2, 3]
        assert len(saved.units) == 3
        assert _predictions(saved) == {each: [each, 2 * each, 3 * each] for each in range(10)}

    @pytest.mark.parametrize("num_parts", [1, 3, 7])
    def test_other_order_and_parts(self, tmp_path, num_parts):
        """Rows are found wherever they are."""
        _save(tmp_path, 1, list(range(20)), num_parts=4)
        shuffled = np.random.default_rng(0).permutation(20).tolist()
        _save(tmp_path, 2, shuffled, num_parts=num_parts, scale=2)
        saved = plan_saved([str(tmp_path)], example_key="id")
        assert _predictions(saved) == {each: [each, 2 * each] for each in range(20)}

    def test_files_that_are_written_anew(self, tmp_path):
        """An index of what they held before is not used, even if they are as long as they were."""
        _save(tmp_path, 1, [1, 2, 3])
        for scale in (2.0, 3.0):
            directory = _save(tmp_path, 2, [3, 1, 2], scale=scale)
            (path,) = directory.iterdir()
            os.utime(path, (scale, scale))
            found = _predictions(plan_saved([str(tmp_path)], example_key="id"))
            assert found == {each: [each, scale * each] for each in (1, 2, 3)}

    def test_missing_rows(self, tmp_path):
        """Rows that a version lacks have null predictions; rows of no others do not count."""
        _save(tmp_path, 1, list(range(10)), num_parts=2)
        _save(tmp_path, 2, [99, 8, 7, 0, 3])
        saved = plan_saved([str(tmp_path)], example_key="id")
        assert _predictions(saved) == {
            each: [each, each if each in {8, 7, 0, 3} else None] for each in range(10)
        }

    def test_a_part_without_any(self, tmp_path):
        """A version without predictions of any rows of a batch has none."""
        _save(tmp_path, 1, [1, 2])
        _save(tmp_path, 2, [3])
        saved = plan_saved([str(tmp_path)], example_key="id")
        (only,) = read_saved(0, saved, [], ["p"])
        assert only.outputs[1] is None

    def test_file_and_row(self, tmp_path):
        """Without a key column, file and row number identify rows."""
        source = {
            "source_file": ["a", "a", "b", "b"],
            "source_row": pa.array([0, 1, 0, 1], pa.int64()),
            "p": [0.0, 1.0, 2.0, 3.0],
        }
        save_version(tmp_path, 1, [source])
        save_version(tmp_path, 2, [pa.table(source).take([2, 0, 3])])
        saved = plan_saved([str(tmp_path)])
        assert saved.key == ("source_file", "source_row")
        found = [outputs for _, *outputs in rows_of(read_saved(0, saved, [], ["p"]))]
        assert [each[1]["p"] for each in found] == [0.0, None, 2.0, 3.0]

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (pa.int64(), pa.int32()),
            (pa.string(), pa.large_string()),
            (pa.string(), pa.binary()),
            (pa.date32(), pa.date32()),
        ],
    )
    def test_types_of_keys(self, tmp_path, first, second):
        """Keys match by value, whatever type a file has them in."""
        ids = pa.array([10, 11, 12], pa.int32())
        text = first == pa.string()
        for version, (data_type, order) in enumerate([(first, [0, 1, 2]), (second, [2, 0, 1])], 1):
            keys = (ids.cast(pa.string()) if text else ids).cast(data_type)
            save_version(
                tmp_path, version, [{"id": keys.take(order), "p": [float(o) for o in order]}]
            )
        saved = plan_saved([str(tmp_path)], example_key="id")
        (only,) = read_saved(0, saved, [], ["p"])
        assert only.outputs[1]["p"].to_pylist() == [0.0, 1.0, 2.0]

    def test_lists_and_names(self, tmp_path):
        """Scores and class names of several classes come as they are, null where missing."""

        def table(ids):
            return pa.table(
                {
                    "id": ids,
                    "scores": pa.array([[each, 1.0] for each in ids], pa.list_(pa.float32(), 2)),
                    "classes": pa.array([["a", "b"] for _ in ids], pa.list_(pa.string())),
                }
            )

        save_version(tmp_path, 1, [table([1, 2, 3])])
        save_version(tmp_path, 2, [table([3, 1])])
        saved = plan_saved([str(tmp_path)], example_key="id")
        (only,) = read_saved(0, saved, [], ["scores", "classes"])
        assert only.outputs[1].to_pylist() == [
            {"scores": [1.0, 1.0], "classes": ["a", "b"]},
            {"scores": None, "classes": None},
            {"scores": [3.0, 1.0], "classes": ["a", "b"]},
        ]

    def test_a_key_twice(self, tmp_path):
        """A key that comes twice identifies no row, and is shown."""
        _save(tmp_path, 1, [1, 2, 3])
        _save(tmp_path, 2, [3, 2, 3])
        saved = plan_saved([str(tmp_path)], example_key="id")
        with pytest.raises(
            InvalidArgumentError, match=r"version 2: key 3 comes twice \(row 0 of .* and row 2 of"
        ):
            list(read_saved(0, saved, [], ["p"]))

    @pytest.mark.parametrize("bits", [0, 1, 2])
    def test_other_keys_with_the_same_hash(self, tmp_path, monkeypatch, bits):
        """Keys whose hashes are equal are told apart by the keys themselves."""
        _hash_to_few_bits(monkeypatch, bits)
        _save(tmp_path, 1, [1, 2, 3, 4, 5, 6, 7, 8], num_parts=2)
        _save(tmp_path, 2, [10, 8, 11, 2, 12, 4, 13, 6], num_parts=3, scale=2)
        saved = plan_saved([str(tmp_path)], example_key="id")
        assert _predictions(saved) == {
            each: [each, None if each % 2 else 2 * each] for each in range(1, 9)
        }

    def test_files_and_rows_with_the_same_hash(self, tmp_path, monkeypatch):
        """Both of file and row number have to be equal."""
        _hash_to_few_bits(monkeypatch, 0)
        files, rows = ["a", "a", "b", "b"], pa.array([0, 1, 0, 1], pa.int64())
        table = pa.table({"source_file": files, "source_row": rows, "p": [0.0, 1.0, 2.0, 3.0]})
        save_version(tmp_path, 1, [table])
        save_version(tmp_path, 2, [table.take([3, 0])])
        saved = plan_saved([str(tmp_path)])
        found = [outputs[1]["p"] for _, *outputs in rows_of(read_saved(0, saved, [], ["p"]))]
        assert found == [0.0, None, None, 3.0]

    def test_a_key_twice_among_others_with_its_hash(self, tmp_path, monkeypatch):
        """Only keys that really are equal come twice, however far apart."""
        _hash_to_few_bits(monkeypatch, 0)
        _save(tmp_path, 1, [1, 2, 3, 4])
        _save(tmp_path, 2, [3, 2, 4, 3])
        saved = plan_saved([str(tmp_path)], example_key="id")
        with pytest.raises(
            InvalidArgumentError, match=r"version 2: key 3 comes twice \(row 0 of .* and row 3 of"
        ):
            list(read_saved(0, saved, [], ["p"]))

    def test_a_key_twice_in_the_baseline(self, tmp_path):
        """Two rows of the baseline must not get the prediction of one."""
        _save(tmp_path, 1, [1, 3, 3])
        _save(tmp_path, 2, [3, 1, 2])
        saved = plan_saved([str(tmp_path)], example_key="id")
        with pytest.raises(InvalidArgumentError, match="version 1: key 3 comes twice"):
            list(read_saved(0, saved, [], ["p"]))

    def test_a_key_in_two_files_of_the_baseline(self, tmp_path):
        """Nor do rows of several files get the prediction of one."""
        _save(tmp_path, 1, [1, 3, 3, 2], num_parts=2)
        _save(tmp_path, 2, [3, 2, 1])
        saved = plan_saved([str(tmp_path)], example_key="id")
        with pytest.raises(
            InvalidArgumentError,
            match=r"version 1: key 3 comes twice \(row 1 of .*part-00000.* and row 0 of .*part-00001",
        ):
            list(read_saved(0, saved, [], ["p"]))

    def test_keys_of_one_hash_in_the_baseline(self, tmp_path, monkeypatch):
        """Equal hashes alone are no key that comes twice."""
        _hash_to_few_bits(monkeypatch, 0)
        _save(tmp_path, 1, [1, 3, 2], num_parts=2)
        _save(tmp_path, 2, [3, 2, 1], scale=2)
        saved = plan_saved([str(tmp_path)], example_key="id")
        assert _predictions(saved) == {1: [1, 2], 2: [2, 4], 3: [3, 6]}

    def test_a_key_twice_where_rows_are_in_one_order(self, tmp_path):
        """Rows of the same files in the same order go together by their places."""
        for version in (1, 2):
            _save(tmp_path, version, [1, 3, 3], num_parts=3, scale=version)
        saved = plan_saved([str(tmp_path)], example_key="id")
        rows = [
            each for unit in saved.units for each in rows_of(read_saved(unit, saved, [], ["p"]))
        ]
        assert [[each["p"] for each in outputs] for _, *outputs in rows] == [[1, 2], [3, 6], [3, 6]]

    def test_numbers_and_texts(self, tmp_path):
        """A key that is a number in one version and a text in another is told, not left unmatched."""
        _save(tmp_path, 1, [1, 2])
        save_version(tmp_path, 2, [{"id": ["1", "2"], "p": [1.0, 2.0]}])
        with pytest.raises(
            InvalidArgumentError, match=r"'id'.* is int64 in version 1 and string in version 2"
        ):
            plan_saved([str(tmp_path)], example_key="id")

    def test_outputs_of_other_versions(self, tmp_path):
        """What only a candidate has is one of its outputs."""
        _save(tmp_path, 1, [1, 2])
        save_version(tmp_path, 2, [{"id": [2, 1], "p": [2.0, 1.0], "q": [4.0, 3.0]}])
        saved = plan_saved([str(tmp_path)], example_key="id")
        assert saved.output_names([]) == ("p", "q")
        (only,) = read_saved(0, saved, [], ["p", "q"])
        assert [each.schema.names for each in only.outputs] == [["p"], ["p", "q"]]

    def test_null_is_no_number(self, tmp_path):
        """A null key is another one than any number."""
        _save(tmp_path, 1, [1, None, -1], p=[1.0, 2.0, 3.0])
        _save(tmp_path, 2, [-1, 1, None], p=[30.0, 10.0, 20.0])
        saved = plan_saved([str(tmp_path)], example_key="id")
        assert _predictions(saved) == {1: [1, 10], None: [2, 20], -1: [3, 30]}

    def test_rows_read_in_pieces(self, tmp_path):
        """More rows than a piece has come in pieces that fit each other."""
        ids = list(range(150_000))
        _save(tmp_path, 1, ids)
        directory = _save(tmp_path, 2, [])
        table = pa.table({"id": ids, "p": [2.0 * each for each in ids]})
        pq.write_table(table, directory / "part-00000-of-00001.parquet", row_group_size=40_000)
        saved = plan_saved([str(tmp_path)], example_key="id")
        pieces = list(read_saved(0, saved, [], ["p"]))
        assert [each.columns.num_rows for each in pieces] == [65_536, 65_536, 18_928]
        found = np.concatenate([each.outputs[1]["p"].to_numpy() for each in pieces])
        np.testing.assert_array_equal(found, 2.0 * np.arange(150_000))

    def test_columns_of_the_data(self, tmp_path):
        """Labels and the like come from the baseline, with the key first."""
        _save(tmp_path, 1, [1, 2], y=[0, 1], z=["a", "b"])
        _save(tmp_path, 2, [2, 1])
        saved = plan_saved([str(tmp_path)], example_key="id")
        (only,) = read_saved(0, saved, ["y"], ["p"])
        assert only.columns.to_pylist() == [{"id": 1, "y": 0}, {"id": 2, "y": 1}]
        assert saved.output_names(["y"]) == ("p", "z")

    def test_pickled(self, tmp_path):
        """Workers get a copy."""
        _save(tmp_path, 1, [1, 2])
        _save(tmp_path, 2, [2, 1])
        saved = plan_saved([str(tmp_path)], example_key="id")
        assert _predictions(pickle.loads(pickle.dumps(saved))) == {1: [1, 1], 2: [2, 2]}


@given(data=st.data())
def test_any_layout_gives_the_same(tmp_path_factory, data):
    """Whatever the order and the files, each row has its own predictions or null."""
    ids = data.draw(st.lists(st.integers(-50, 50), min_size=1, max_size=30, unique=True))
    theirs = data.draw(st.permutations(ids))
    dropped = data.draw(st.sets(st.sampled_from(ids), max_size=len(ids) - 1))
    theirs = [each for each in theirs if each not in dropped]
    tmp_path = tmp_path_factory.mktemp("saved")
    _save(tmp_path, 1, ids, num_parts=data.draw(st.integers(1, 4)))
    _save(tmp_path, 2, theirs, num_parts=data.draw(st.integers(1, 4)), scale=3)
    saved = plan_saved([str(tmp_path)], example_key="id")
    assert _predictions(saved) == {
        each: [each, None if each in dropped else 3 * each] for each in ids
    }


class TestPlanSaved:
    def test_choice_of_versions(self, tmp_path):
        """The baseline is the lowest, the candidates all others, if nothing is said."""
        for version in (3, 1, 2):
            _save(tmp_path, version, [1])
        place = [str(tmp_path)]

        def versions(**asked):
            saved = plan_saved(place, example_key="id", **asked)
            return [each.version for each in saved.versions]

        assert versions() == [1, 2, 3]
        assert versions(baseline=2) == [2, 1, 3]
        assert versions(baseline=3, candidates=(1,)) == [3, 1]

    def test_directories_of_versions(self, tmp_path):
        """Versions in directories of their own get the numbers they are given."""
        _save(tmp_path / "a", 1, [1])
        _save(tmp_path / "b", 1, [1], scale=5)
        plain = tmp_path / "c"
        plain.mkdir()
        pq.write_table(pa.table({"id": [1], "p": [7.0]}), plain / "x.parquet")
        saved = plan_saved([f"1={tmp_path}/a", f"2={tmp_path}/b", f"3={plain}"], example_key="id")
        assert _predictions(saved) == {1: [1, 5, 7]}
        assert saved.model_name == "m"

    def test_a_version_among_several(self, tmp_path):
        """Of a directory with several versions, the one of that number is taken."""
        _save(tmp_path / "a", 1, [1])
        _save(tmp_path / "b", 1, [1], scale=5)
        _save(tmp_path / "b", 2, [1], scale=6)
        saved = plan_saved([f"1={tmp_path}/a", f"2={tmp_path}/b"], example_key="id")
        assert _predictions(saved) == {1: [1, 6]}
        with pytest.raises(NotFoundError, match="version 9 is not there, but 1, 2"):
            plan_saved([f"1={tmp_path}/a", f"9={tmp_path}/b"])

    def test_a_directory_inside(self, tmp_path):
        """The directory of the model, or of the version, will do, too."""
        inside = _save(tmp_path, 1, [1])
        _save(tmp_path, 2, [1])
        assert plan_saved([str(inside.parent)], example_key="id").model_name == "m"
        saved = plan_saved([str(inside), str(inside.parent / "model_version=2")], example_key="id")
        assert len(saved.versions) == 2

    def test_models(self, tmp_path):
        """Of several models one is chosen."""
        for name in ("a b", "other"):
            for version in (1, 2):
                save_version(tmp_path, version, [{"id": [1], "p": [1.0]}], name.replace(" ", "%20"))
        with pytest.raises(
            InvalidArgumentError, match=r"predictions of a b, other; .*--model_name"
        ):
            plan_saved([str(tmp_path)])
        saved = plan_saved([str(tmp_path)], model_name="a b", example_key="id")
        assert saved.model_name == "a b"
        with pytest.raises(NotFoundError, match="no predictions of --model_name=c"):
            plan_saved([str(tmp_path)], model_name="c")

    def test_parts_without_rows(self, tmp_path):
        """Files without rows are no units, whatever their columns."""
        save_version(tmp_path, 1, [{"id": pa.array([], pa.null())}, {"id": [1], "p": [1.0]}])
        _save(tmp_path, 2, [1])
        assert len(plan_saved([str(tmp_path)], example_key="id").units) == 1

    def test_hidden_files(self, tmp_path):
        """What readers of a dataset do not see does not count."""
        directory = _save(tmp_path, 1, [1])
        _save(tmp_path, 2, [1])
        (directory / "_notes.txt").write_text("x")
        (directory / ".part.crc").write_text("x")
        assert plan_saved([str(tmp_path)], example_key="id").baseline.num_rows == 1

    @pytest.mark.parametrize(
        ("options", "error", "reason"),
        [
            ({"baseline": 7}, NotFoundError, "has none of version 7, but of 1, 2"),
            ({"candidates": (8,)}, NotFoundError, "has none of version 8"),
            ({"candidates": (1,)}, InvalidArgumentError, "nothing to compare version 1 with"),
            ({"example_key": "ids"}, InvalidArgumentError, "version 1 have no column 'ids'.*'id'"),
            ({"example_key": None}, InvalidArgumentError, "nothing identifies.*--example_key"),
        ],
    )
    def test_refusals(self, tmp_path, options, error, reason):
        """What does not go together is one message."""
        _save(tmp_path, 1, [1])
        _save(tmp_path, 2, [1])
        with pytest.raises(error, match=reason):
            plan_saved([str(tmp_path)], **{"example_key": "id", **options})

    def test_nothing_there(self, tmp_path):
        """A directory without predictions is named, with what is expected there."""
        with pytest.raises(NotFoundError, match=r"no predictions are in .*model_name=NAME"):
            plan_saved([str(tmp_path)])
        with pytest.raises(NotFoundError, match="no predictions are in"):
            plan_saved([f"1={tmp_path}/none"])
        with pytest.raises(InvalidArgumentError, match="--predictions is empty"):
            plan_saved([""])

    def test_one_version(self, tmp_path):
        """A version alone is planned as the baseline, without anything to compare it with."""
        _save(tmp_path, 1, [1, 2])
        saved = plan_saved([str(tmp_path)], example_key="id")
        assert [each.version for each in saved.versions] == [1]
        assert _predictions(saved) == {1: [1], 2: [2]}

    def test_a_version_in_two_places(self, tmp_path):
        """The same version in two places is not clear."""
        _save(tmp_path / "a", 1, [1])
        _save(tmp_path / "b", 1, [1])
        with pytest.raises(InvalidArgumentError, match="version 1 are in another place"):
            plan_saved([f"{tmp_path}/a", f"{tmp_path}/b"])

    def test_an_unfinished_job(self, tmp_path):
        """A job that is not done is refused, with the way to finish it."""
        _save(tmp_path, 1, [1])
        (tmp_path / "_plan").mkdir()
        (tmp_path / "_plan" / "plan.json").write_text("{}")
        with pytest.raises(InvalidArgumentError, match=r"is not done .*--if_exists=resume"):
            plan_saved([str(tmp_path)])

    def test_other_formats(self, tmp_path):
        """Only Parquet can be read."""
        directory = _save(tmp_path, 1, [1])
        (directory / "part-00001-of-00002.jsonl").write_text("{}")
        with pytest.raises(InvalidArgumentError, match=r"is no Parquet file.*--output_format"):
            plan_saved([str(tmp_path)])

    def test_corrupt_files(self, tmp_path):
        """A file that is cut off is named."""
        directory = _save(tmp_path, 1, [1])
        _save(tmp_path, 2, [1])
        (directory / "part-00000-of-00001.parquet").write_bytes(b"PAR1")
        with pytest.raises(DataLossError, match="part-00000"):
            plan_saved([str(tmp_path)])

    def test_other_columns(self, tmp_path):
        """Files of a version are alike."""
        save_version(tmp_path, 1, [{"id": [1], "p": [1.0]}, {"id": [2], "q": [1.0]}])
        with pytest.raises(InvalidArgumentError, match=r"00001.* has other columns than .*00000"):
            plan_saved([str(tmp_path)])

    def test_no_rows(self, tmp_path):
        """Predictions without rows are none."""
        save_version(tmp_path, 1, [{"id": pa.array([], pa.int64())}])
        with pytest.raises(NotFoundError, match="predictions of version 1 have no rows"):
            plan_saved([str(tmp_path)])


def test_scan(tmp_path):
    """Slices are counted in the baseline's files, part by part."""
    _save(tmp_path, 1, [1, 2, 3, 4], num_parts=2, c=["x", "y", "x", None])
    _save(tmp_path, 2, [1])
    saved = plan_saved([str(tmp_path)], example_key="id")
    specs = (parse_slice("c"),)
    counts = SliceCounts.merge(scan_saved(unit, saved, specs) for unit in saved.units)
    assert list(build_catalog(specs, counts).keys) == [
        (),
        (("c", "x"),),
        (("c", "y"),),
        (("c", "__null__"),),
    ]
    with pytest.raises(InvalidArgumentError, match="slice column 'd'"):
        scan_saved(0, saved, (parse_slice("d"),))


def test_part_cache(tmp_path):
    """The cache keeps what was read last, within its bytes, and one file at least."""
    for version in (1, 2):
        _save(tmp_path, version, list(range(100)), num_parts=2)
    saved = plan_saved([str(tmp_path)], example_key="id")
    first, second = saved.baseline.parts
    (whole,) = read_part(first, ["p"], first.num_rows)
    large, small = PartCache(), PartCache(max_bytes=1)
    assert large.read(first, ["p"]).equals(whole)
    assert large.read(first, ["p"]) is large.read(first, ["p"])
    kept = small.read(first, ["p"])
    assert small.read(first, ["p"]) is kept
    small.read(second, ["p"])
    assert small.read(first, ["p"]) is not kept


class TestJobs:
    """Predictions that precompute has written."""

    @pytest.fixture(scope="class")
    def files(self, tmp_path_factory):
        base = tmp_path_factory.mktemp("job")
        for version in (1, 2):
            save_linear(base / "ranker", version)
        rng = np.random.default_rng(0)
        features = rng.normal(size=(300, 4)).astype(np.float32)
        table = pa.table(
            {
                "id": np.arange(300),
                "features": pa.FixedSizeListArray.from_arrays(features.reshape(-1), 4),
                "label": rng.integers(0, 2, 300),
            }
        )
        pq.write_table(table, base / "data.parquet")
        return base

    @pytest.mark.parametrize("key", ["id", None])
    def test_output_of_a_job(self, files, tmp_path, key):
        """A job's output can be evaluated as it is; its plan tells the key and what was copied."""
        run_job(
            files / "ranker",
            files / "data.parquet",
            tmp_path / "out",
            model_version="1,2",
            key=key,
            passthrough=("label",),
        )
        saved = plan_saved([str(tmp_path / "out")])
        assert saved.model_name == "ranker"
        assert saved.key == (("id",) if key else ("source_file", "source_row"))
        assert saved.output_names(()) == ("score",)
        rows = rows_of(
            each for unit in saved.units for each in read_saved(unit, saved, ["label"], ["score"])
        )
        assert len(rows) == 300
        assert all(one["score"] != other["score"] for _, one, other in rows)

    def test_classify(self, tmp_path):
        """Scores that `classify` has written with the names of their classes go together by name."""
        tf = import_tensorflow()
        for version, classes in ((1, ["cat", "dog", "eel"]), (2, ["eel", "cat", "dog"])):

            def call(inputs, version=version, classes=classes):
                order = [["cat", "dog", "eel"].index(each) for each in classes]
                scores = tf.nn.softmax(tf.stack([inputs, version * inputs, -inputs], axis=1))
                names = tf.tile(tf.constant([classes]), [tf.shape(inputs)[0], 1])
                return {"scores": tf.gather(scores, order, axis=1), "classes": names}

            specs = {"inputs": tf.TensorSpec([None], tf.float32)}
            save_signatures(tmp_path / "pets", version, {"serving_default": (call, specs)})
        inputs = np.linspace(-1, 1, 50, dtype=np.float32)
        data = {"id": np.arange(50), "inputs": inputs, "pet": ["cat", "dog"] * 25}
        pq.write_table(pa.table(data), tmp_path / "data.parquet")
        run_job(
            tmp_path / "pets",
            tmp_path / "data.parquet",
            tmp_path / "out",
            model_version="1,2",
            key="id",
            passthrough=("pet",),
            method="classify",
        )
        saved = plan_saved([str(tmp_path / "out")])
        names = saved.output_names(["pet"])
        (rows,) = read_saved(0, saved, ["pet"], names)
        choice = choose_prediction(output_specs(rows.outputs[0]))
        assert (choice.prediction, choice.classes, choice.num_scores) == ("scores", "classes", 3)
        class_names = class_names_of(rows.outputs[0], choice)
        assert class_names == ("cat", "dog", "eel")
        evaluated = EvaluationRows(
            EvaluationOptions(task=Task.MULTICLASS, num_versions=2, num_classes=3),
            EvaluationColumns(
                prediction="scores",
                classes="classes",
                class_names=class_names,
                label="pet",
                example_key="id",
            ),
            build_catalog(()),
        ).batch(rows.columns, rows.outputs)
        assert evaluated.labels.tolist() == [0, 1] * 25
        for version in (1, 2):
            logits = np.stack([inputs, version * inputs, -inputs], axis=1)
            expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            np.testing.assert_allclose(evaluated.predictions[version - 1], expected, rtol=1e-5)
