import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import demo_data
from servable_core.errors import FailedPreconditionError, InvalidArgumentError


@pytest.fixture(scope="module", name="table")
def _table():
    return demo_data.load_table()


def _read_tfrecord(paths):
    import tensorflow as tf

    spec = {name: tf.io.FixedLenFeature([], tf.float32) for name in demo_data.FEATURES}
    spec |= {name: tf.io.FixedLenFeature([], tf.int64) for name in (demo_data.ID, demo_data.LABEL)}
    records = tf.data.TFRecordDataset(paths).batch(100_000).get_single_element()
    columns = tf.io.parse_example(records, spec)
    return {name: column.numpy() for name, column in columns.items()}


class TestLoadTable:
    def test_table_has_every_row_once(self, table):
        assert table.column_names == ["id", *demo_data.FEATURES, "visited"]
        assert table["id"].to_pylist() == list(range(20_190))
        assert {table.schema.field(name).type for name in demo_data.FEATURES} == {pa.float32()}
        assert table.schema.field("id").type == table.schema.field("visited").type == pa.int64()
        assert set(table["visited"].to_pylist()) == {0, 1}
        assert sum(column.null_count for column in table.columns) == 0

    def test_missing_statsmodels_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "statsmodels.datasets", None)
        with pytest.raises(FailedPreconditionError, match=r"pip install 'bulk-inference\[demo\]'"):
            demo_data.load_table()


class TestSplit:
    def test_split_is_two_halves_fixed_by_the_seed(self, table):
        train, held_out = demo_data.split(table, seed=7)
        assert train.num_rows == held_out.num_rows == 10_095
        ids = train["id"].to_pylist()
        assert sorted(ids + held_out["id"].to_pylist()) == table["id"].to_pylist()
        assert demo_data.split(table, seed=7)[0]["id"].to_pylist() == ids
        assert demo_data.split(table, seed=8)[0]["id"].to_pylist() != ids


class TestWrite:
    def test_both_formats_hold_the_same_rows(self, table, tmp_path):
        parquet = demo_data.write_parquet(table, str(tmp_path / "parquet"))
        tfrecord = demo_data.write_tfrecord(table, str(tmp_path / "tfrecord"))
        assert [Path(path).name for path in parquet] == [
            f"part-0000{i}-of-00004.parquet" for i in range(4)
        ]
        assert [Path(path).name for path in tfrecord] == [
            f"part-0000{i}-of-00004.tfrecord" for i in range(4)
        ]
        assert {pq.read_metadata(path).num_rows for path in parquet} == {5047, 5048}
        assert pa.concat_tables([pq.read_table(path) for path in parquet]).equals(table)
        read = _read_tfrecord(tfrecord)
        for name in table.column_names:
            np.testing.assert_array_equal(read[name], table[name].to_numpy(), err_msg=name)

    def test_more_files_than_rows_leaves_some_empty(self, table, tmp_path):
        paths = demo_data.write_parquet(table.slice(0, 2), str(tmp_path), num_files=3)
        assert sorted(pq.read_metadata(path).num_rows for path in paths) == [0, 1, 1]

    @pytest.mark.parametrize("write", [demo_data.write_parquet, demo_data.write_tfrecord])
    def test_no_files_is_refused(self, write, table, tmp_path):
        with pytest.raises(InvalidArgumentError, match="num_files is 0"):
            write(table, str(tmp_path), num_files=0)
