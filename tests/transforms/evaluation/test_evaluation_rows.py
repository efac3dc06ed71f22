import sys

import numpy as np
import pyarrow as pa
import pytest

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.evaluation_rows import EvaluationColumns, EvaluationRows
from transforms.evaluation.slice_catalog import build_catalog
from transforms.evaluation.slices import parse_slice
from transforms.metrics import EvaluationOptions, Task, create_evaluation, key_blocks
from transforms.metrics.key_blocks import hash_keys

_NAN = np.nan


def _rows(task=Task.BINARY, slices=(), num_classes=2, **columns):
    given = {"prediction": "p", "example_key": "id", **columns}
    options = EvaluationOptions(
        task=task,
        num_versions=2,
        num_classes=num_classes,
        is_labelled="label" in given,
        is_weighted="weight" in given,
    )
    catalog = build_catalog(tuple(map(parse_slice, slices)))
    return EvaluationRows(options, EvaluationColumns(**given), catalog)


def _batch(columns, *outputs, **options):
    """Returns the batch of rows; `outputs` are columns `p`, or record batches."""
    made = [
        each if each is None or isinstance(each, pa.RecordBatch) else pa.record_batch({"p": each})
        for each in outputs
    ]
    num_rows = next(len(each) for each in made if each is not None)
    data = pa.record_batch({"id": list(range(num_rows)), **columns})
    return _rows(**options).batch(data, made)


def _scores(rows, size=None, data_type=None):
    return pa.array(rows, pa.list_(data_type or pa.float32(), size or -1))


class TestPredictions:
    @pytest.mark.parametrize(
        "column",
        [
            pa.array([0.25, None, 0.5], pa.float32()),
            pa.array([[0.25], None, [0.5]], pa.list_(pa.float32(), 1)),
            pa.array([0.25, None, 0.5], pa.float16()),
            pa.array([[0.75, 0.25], None, [0.5, 0.5]], pa.list_(pa.float32(), 2)),
            pa.array([[0.75, 0.25], None, [0.5, 0.5]], pa.list_(pa.float32())),
            pa.array([[0.75, 0.25], None, [0.5, 0.5]], pa.large_list(pa.float32())),
        ],
    )
    def test_binary(self, column):
        """One number, or the second of two scores; null is NaN; float32 stays."""
        found = _batch({}, column, column).predictions
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, [[0.25, _NAN, 0.5]] * 2)

    def test_integers(self):
        """Whole numbers become float64."""
        found = _batch({}, pa.array([1, None]), pa.array([2, 3]), task=Task.REGRESSION)
        assert found.predictions.dtype == np.float64
        np.testing.assert_array_equal(found.predictions, [[1, _NAN], [2, 3]])

    def test_multiclass(self):
        """Lists of scores, sliced or not, of fixed length or not."""
        fixed = _scores([[9, 9, 9], [0.5, 0.25, 0.25], None, [0, 1, 0]], 3)[1:]
        varying = _scores([[9, 9, 9], [0.5, 0.25, 0.25], [1, 0, 0], None])[1:]
        found = _batch({}, fixed, varying, task=Task.MULTICLASS, num_classes=3).predictions
        assert found.dtype == np.float32
        nothing = [_NAN] * 3
        np.testing.assert_array_equal(
            found,
            [
                [[0.5, 0.25, 0.25], nothing, [0, 1, 0]],
                [[0.5, 0.25, 0.25], [1, 0, 0], nothing],
            ],
        )

    def test_a_version_without_any(self):
        """A version that failed at all rows is NaN, and leaves the others' type alone."""
        found = _batch({}, pa.array([0.7], pa.float32()), None).predictions
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, np.array([[0.7], [_NAN]], np.float32))
        lists = _batch({}, None, _scores([[0, 1, 0]]), task=Task.MULTICLASS, num_classes=3)
        assert lists.predictions.shape == (2, 1, 3)

    def test_by_class_name(self):
        """Scores are put in the order of the classes, whatever order a row has them in."""
        first = pa.record_batch(
            {
                "p": _scores([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], None]),
                "c": [[b"x", b"y", b"z"], [b"z", b"x", b"y"], None],
            }
        )
        second = pa.record_batch(
            {
                "p": _scores([[0.1, 0.9, 0], [0.5, 0.5, 0], [0.4, 0.6, 0]]),
                "c": [["z", "y", "x"], ["z", "y", "new"], ["z", "y", "y"]],
            }
        )
        found = _batch(
            {},
            first,
            second,
            task=Task.MULTICLASS,
            num_classes=3,
            classes="c",
            class_names=("x", "y", "z"),
        ).predictions
        expected = [
            [[0.1, 0.2, 0.7], [0.3, 0.2, 0.5], [_NAN] * 3],
            [[0, 0.9, 0.1], [_NAN] * 3, [_NAN] * 3],
        ]
        np.testing.assert_array_equal(found, np.array(expected, np.float32))

    def test_binary_by_class_name(self):
        """The second class is the positive one."""
        rows = pa.record_batch(
            {"p": _scores([[0.9, 0.1], [0.9, 0.1]]), "c": [["no", "yes"], ["yes", "no"]]}
        )
        found = _batch({}, rows, rows, classes="c", class_names=("no", "yes")).predictions
        np.testing.assert_allclose(found, [[0.1, 0.9]] * 2, rtol=1e-6)

    @pytest.mark.parametrize(
        ("outputs", "options", "reason"),
        [
            ([pa.array(["a"])] * 2, {}, "'p' of version 0 is string, where one number a row"),
            (
                [_scores([[1, 2, 3]]), _scores([[1, 2]])],
                {"task": Task.MULTICLASS, "num_classes": 3, "versions": ("7", "8")},
                "'p' of version 8 has a row of 2 scores, where 3 are expected",
            ),
            ([_scores([[1, 2, 3]])] * 2, {}, "a row of 3 scores, where 2 are expected"),
            ([_scores([[1, 2]])] * 2, {"task": Task.REGRESSION}, "where one number a row"),
            ([pa.array([1.0])] * 2, {"task": Task.MULTICLASS}, "scores of all classes are"),
            ([pa.array([1.0])] * 2, {"prediction": "q"}, "there is no output 'q'"),
            (
                [pa.record_batch({"p": _scores([[1, 2]]), "c": [["a"]]})] * 2,
                {"classes": "c", "class_names": ("a", "b")},
                "other numbers of classes than of scores",
            ),
        ],
    )
    def test_shapes(self, outputs, options, reason):
        """Another shape or type is refused, and the version named."""
        with pytest.raises(InvalidArgumentError, match=reason):
            _batch({}, *outputs, **options)


class TestLabels:
    def _labels(self, column, **options):
        scores = pa.array([0.5] * len(column))
        return _batch({"y": column}, scores, scores, label="y", **options).labels

    @pytest.mark.parametrize(
        ("column", "expected"),
        [
            (pa.array([True, False, None]), [1, 0, _NAN]),
            (pa.array([1, 0, 7, None], pa.int8()), [1, 0, 7, _NAN]),
            (pa.array([0.5, _NAN, None]), [0.5, _NAN, _NAN]),
            (pa.array([[1.0], [0.0], None], pa.list_(pa.float32(), 1)), [1, 0, _NAN]),
            (pa.array([1, 0]).dictionary_encode(), [1, 0]),
        ],
    )
    def test_numbers(self, column, expected):
        """Numbers and bools are what they are; the metrics' checks find the bad ones."""
        np.testing.assert_array_equal(self._labels(column), expected)

    @pytest.mark.parametrize("data_type", [pa.string(), pa.large_string(), pa.binary()])
    def test_names(self, data_type):
        """Names become places; unknown ones are bad labels, null ones are missing."""
        column = pa.array(["yes", "no", "maybe", None], pa.string()).cast(data_type)
        found = self._labels(column, class_names=("no", "yes"))
        np.testing.assert_array_equal(found, [1, 0, -1, _NAN])

    def test_numbers_that_are_names(self):
        """Where classes are called by whole numbers, so are labels."""
        found = self._labels(pa.array([10, 20, 0, None]), class_names=("20", "10"))
        np.testing.assert_array_equal(found, [1, 0, -1, _NAN])

    def test_numbers_beside_names(self):
        """Where classes have other names, numbers are places."""
        found = self._labels(pa.array([0, 1]), class_names=("no", "yes"))
        np.testing.assert_array_equal(found, [0, 1])

    def test_refusals(self):
        """Names without classes, and anything else, are refused."""
        with pytest.raises(InvalidArgumentError, match="nothing names the classes"):
            self._labels(pa.array(["yes"]))
        with pytest.raises(InvalidArgumentError, match="label column is list"):
            self._labels(pa.array([[1, 2]]))
        with pytest.raises(InvalidArgumentError, match=r"--label=y is not among.*did you mean"):
            _batch({"yy": [1]}, pa.array([0.5]), pa.array([0.5]), label="y")


class TestKeys:
    def test_example_key(self):
        """Keys name rows, and their blocks follow from them."""
        keys = pa.array(["a", "b", "c"])
        scores = pa.array([0.5] * 3)
        found = _batch({"k": keys}, scores, scores, example_key="k")
        assert found.example_keys.to_pylist() == ["a", "b", "c"]
        assert found.blocks.tolist() == key_blocks(keys).tolist()

    def test_bytes(self):
        """Keys of TFRecords are bytes; what is no text is escaped, for it is shown."""
        scores = pa.array([0.5] * 2)
        found = _batch({"k": pa.array([b"a", b"\xff"])}, scores, scores, example_key="k")
        assert found.example_keys.to_pylist() == ["a", "\\xff"]

    def test_cluster_key(self):
        """Rows of one cluster are in one block, whatever their own keys."""
        scores = pa.array([0.5] * 200)
        users = pa.array([f"u{row % 7}" for row in range(200)])
        found = _batch({"user": users}, scores, scores, cluster_key="user")
        assert found.blocks.tolist() == key_blocks(users).tolist()
        assert found.example_keys.to_pylist() == list(range(200))

    @pytest.mark.parametrize(
        ("columns", "hashed"),
        [
            ({"example_key": "k"}, ["k"]),
            ({"example_key": "k", "cluster_key": "user"}, ["k", "user"]),
            ({"example_key": "k", "cluster_key": "k"}, ["k"]),
            ({"example_key": None, "cluster_key": "k"}, ["k"]),
        ],
        ids=["key", "key and clusters", "clusters by the key", "clusters alone"],
    )
    def test_a_column_is_hashed_once(self, monkeypatch, columns, hashed):
        keys = {"k": pa.array(["a", "b", "c"]), "user": pa.array(["x", "x", "y"])}
        places = {"source_file": ["f"] * 3, "source_row": pa.array([0, 1, 2], pa.int64())}
        found = []

        def hash_noted(column):
            found.extend(name for name, each in keys.items() if each.equals(column))
            return hash_keys(column)

        monkeypatch.setattr("transforms.evaluation.row_identity.hash_keys", hash_noted)
        monkeypatch.setattr(sys.modules[hash_keys.__module__], "hash_keys", hash_noted)
        scores = pa.array([0.5] * 3)
        batch = _batch({**keys, **places}, scores, scores, **columns)
        assert found == hashed
        assert batch.blocks.tolist() == key_blocks(keys[hashed[-1]]).tolist()
        if columns["example_key"]:
            some = batch.at(np.array([2, 0]))
            assert some.key_hashes.tolist() == hash_keys(keys["k"].take([2, 0])).tolist()

    def test_file_and_row(self):
        """Without a key it is the place in the input that names a row, however it is batched."""
        scores = pa.array([0.5] * 4)
        source = {
            "source_file": ["a", "a", "b", "b"],
            "source_row": pa.array([7, 8, 7, 8], pa.int64()),
        }
        found = _batch(source, scores, scores, example_key=None)
        assert found.example_keys.to_pylist() == ["a:7", "a:8", "b:7", "b:8"]
        alone = _batch(
            {name: each[2:3] for name, each in source.items()},
            scores[:1],
            scores[:1],
            example_key=None,
        )
        assert alone.blocks[0] == found.blocks[2]

    def test_blocks_of_places_are_even(self):
        """Consecutive rows spread over all blocks."""
        scores = pa.array([0.5] * 3200)
        source = {"source_file": ["a"] * 3200, "source_row": list(range(3200))}
        blocks = _batch(source, scores, scores, example_key=None).blocks
        counts = np.bincount(blocks, minlength=32)
        assert counts.min() > 60
        assert counts.max() < 145

    @pytest.mark.parametrize(
        ("columns", "options", "reason"),
        [
            ({}, {"example_key": "x"}, "--example_key=x is not among"),
            ({}, {"cluster_key": "x"}, "--cluster_key=x is not among"),
            ({}, {"example_key": None}, "nothing identifies the rows.*--example_key"),
            ({"f": [0.5]}, {"example_key": "f"}, "--example_key=f is double; keys are"),
        ],
    )
    def test_refusals(self, columns, options, reason):
        """Keys that are missing, or cannot be any, are refused."""
        with pytest.raises(InvalidArgumentError, match=reason):
            _batch(columns, pa.array([0.5]), pa.array([0.5]), **options)


def test_weights_have_64_bits():
    """Whatever floats they come as, for they are added up."""
    scores = pa.array([0.5] * 2)
    weights = pa.array([0.1, 0.2], pa.float32())
    found = _batch({"w": weights, "age": [20, 40]}, scores, scores, weight="w")
    assert found.weights.dtype == np.float64
    np.testing.assert_array_equal(found.weights, np.float32([0.1, 0.2]))


def test_weights_and_slices():
    """Weights are numbers, null is NaN; slices are those of the catalog."""
    scores = pa.array([0.5] * 2)
    found = _batch(
        {"w": [2, None], "age": [20, 40]}, scores, scores, weight="w", slices=["age=[30]"]
    )
    np.testing.assert_array_equal(found.weights, [2, _NAN])
    assert found.slice_ids.tolist() == [[0, 1], [0, 2]]


def test_bad_rows_are_counted_by_the_metrics():
    """Bad labels, NaN scores and bad weights come through to the checks that count them."""
    columns = {"y": ["no", "what", None, "yes", "yes"], "w": [1, 1, 1, None, 1]}
    scores = pa.array([0.5, 0.5, 0.5, 0.5, None])
    options = {"label": "y", "weight": "w", "class_names": ("no", "yes")}
    batch = _batch(columns, scores, scores, **options)
    evaluation = create_evaluation(_rows(**options)._options)
    values = {
        each.metric: each.estimate.value
        for each in evaluation.finalise(evaluation.update(batch), 0)
        if each.version == 0
    }
    found = {
        name: values[name]
        for name in ("rows", "valid_rows", "bad_labels", "missing_labels", "nan_scores")
    }
    assert found == {
        "rows": 5,
        "valid_rows": 1,
        "bad_labels": 1,
        "missing_labels": 1,
        "nan_scores": 1,
    }
    assert values["bad_weights"] == 1
