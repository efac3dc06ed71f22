"""TFRecord jobs over features of any length, and over files that are cut into units."""

import gzip

import numpy as np
import pytest

from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.datasets import to_examples, write_tfrecord
from tests.jobs import read_output, run_job
from tests.models import call_model, save_linear, save_ragged
from tests.record_frames import frame

tf = import_tensorflow()

_INPUT_MAP = ("mask=mask(ids)", "length=len(ids)")
_random = np.random.default_rng(0)
_ROWS = [_random.integers(-100, 100, length).tolist() for length in _random.integers(0, 40, 120)]


def _record(row, ids, *, is_sequence):
    example = tf.train.SequenceExample()
    example.context.feature["id"].int64_list.value.append(row)
    if is_sequence:
        steps = example.feature_lists.feature_list["ids"].feature
        for each in ids:
            steps.add().int64_list.value.append(each)
    elif ids:
        example.context.feature["ids"].int64_list.value.extend(ids)
    return example.SerializeToString()


@pytest.mark.parametrize("is_sequence", [False, True], ids=["Example", "SequenceExample"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_lists_of_any_length(is_sequence, compress, tmp_path):
    """Ragged features are padded as lists of Parquet are; rows equal direct calls without padding."""
    model = save_ragged(tmp_path / "m", 1)
    records = [_record(row, ids, is_sequence=is_sequence) for row, ids in enumerate(_ROWS)]
    (tmp_path / "in.tfrecord").write_bytes(compress(b"".join(map(frame, records))))
    run_job(
        tmp_path / "m", tmp_path / "in.tfrecord", tmp_path / "out", key="id", input_map=_INPUT_MAP
    )
    output = read_output(tmp_path / "out")
    assert output["id"].to_pylist() == list(range(len(_ROWS)))
    for ids, score in zip(_ROWS, output["score"].to_pylist(), strict=True):
        row = np.asarray([ids], np.int32)
        mask, length = np.ones(row.shape, np.float32), np.asarray([len(ids)], np.int64)
        direct = call_model(model, ids=row, mask=mask, length=length)["score"][0]
        assert score == pytest.approx(float(direct), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        ([[1.0] * 4, [1.0] * 3], "has lists of different lengths"),
        ([[1.0] * 4, None], "null"),
    ],
    ids=["other length", "missing"],
)
def test_a_record_that_does_not_fit(features, reason, tmp_path):
    """A list of another length than the model takes, or none, is an error that says so."""
    save_linear(tmp_path / "m", 1)
    records = []
    for values in features:
        example = tf.train.Example()
        if values is not None:
            example.features.feature["features"].float_list.value.extend(values)
        records.append(frame(example.SerializeToString()))
    (tmp_path / "in.tfrecord").write_bytes(b"".join(records))
    with pytest.raises(Exception, match=reason):
        run_job(tmp_path / "m", tmp_path / "in.tfrecord", tmp_path / "out")


class TestUnitsInsideFiles:
    @pytest.fixture(name="data")
    def _data(self, tmp_path):
        columns = {"features": _random.normal(size=(300, 4)).astype(np.float32)}
        write_tfrecord(columns, tmp_path / "in/a.tfrecord")
        write_tfrecord(columns, tmp_path / "in/b.tfrecord")
        save_linear(tmp_path / "m", 1)
        return columns

    @pytest.mark.parametrize(
        "options", [{"unit_bytes": 4000}, {"unit_bytes": 9000, "unit_rows": 70}]
    )
    def test_every_row_once_with_its_number(self, data, tmp_path, options):
        """Files are cut into units, and each row keeps its file and number."""
        report = run_job(tmp_path / "m", tmp_path / "in", tmp_path / "out", **options)
        assert report.manifest["units"] > 4
        rows = read_output(tmp_path / "out", ("source_file", "source_row"))
        expected = call_model(f"{tmp_path}/m/1", features=data["features"])["score"][:, 0]
        scores = {
            (each["source_file"], each["source_row"]): each["score"] for each in rows.to_pylist()
        }
        assert len(scores) == rows.num_rows == 600
        for name in ("a", "b"):
            path = f"{tmp_path}/in/{name}.tfrecord"
            found = np.array([scores[path, row] for row in range(300)]).reshape(-1)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_limit(self, data, tmp_path):
        """The first rows are read of the first parts, and no others."""
        report = run_job(
            tmp_path / "m", tmp_path / "in", tmp_path / "out", unit_bytes=4000, limit=333
        )
        assert report.rows == 333

    def test_small_files_share_units(self, data, tmp_path):
        """Parts of a big file and small ones are put into units together, up to the bound."""
        for index in range(5):
            record = to_examples({"features": data["features"][:1]})[0]
            (tmp_path / f"in/small-{index}.tfrecord").write_bytes(frame(record))
        report = run_job(tmp_path / "m", tmp_path / "in", tmp_path / "out", unit_bytes=4000)
        assert report.rows == 605
        assert report.manifest["units"] < 2 * 300 * 60 // 4000 + 6
