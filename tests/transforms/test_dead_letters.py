"""Records that fail: found among their neighbours, told with their place, counted against a budget."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.errors import (
    AbortedError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from transforms.bad_records import BadRecord, Stage
from transforms.batch_isolation import isolate
from transforms.dead_letters import (
    SCHEMA,
    bad_row,
    bad_rows,
    dead_letters_path,
    raw_records,
    to_table,
    write_dead_letters,
)
from transforms.failure_budget import FailureBudget
from transforms.input_batch import InputBatch, Origin, only_rows


def _batch(values, first_row=100):
    return InputBatch(
        columns=pa.record_batch({"x": pa.array(values, pa.int64())}),
        origins=(Origin(path="/data/a.parquet", first_row=first_row, num_rows=len(values)),),
    )


class TestIsolation:
    @given(st.lists(st.booleans(), min_size=1, max_size=60))
    def test_exactly_the_bad_rows_are_found(self, is_bad):
        """Whichever rows fail: the others come through in order, each once."""
        calls = 0

        def double(start, stop):
            nonlocal calls
            calls += 1
            if any(is_bad[start:stop]):
                raise ValueError("bad")
            return [2 * value for value in range(start, stop)]

        found = isolate(_batch(range(len(is_bad))), double, Stage.BIND)
        good = [value for _, result in found.results for value in result]
        assert good == [2 * i for i, bad in enumerate(is_bad) if not bad]
        assert [each.source_row for each in found.bad_records] == [
            100 + i for i, bad in enumerate(is_bad) if bad
        ]
        num_halvings = int(np.ceil(np.log2(len(is_bad)))) if len(is_bad) > 1 else 0
        num_tried_alone = sum(is_bad) // 4  # behind several bad rows
        assert calls <= 1 + sum(is_bad) * (num_halvings + 1) + num_tried_alone

    def test_without_a_bad_row_it_is_one_call(self):
        """The batch is passed on as it is."""
        batch = _batch([1, 2, 3])
        found = isolate(batch, lambda start, stop: (start, stop), Stage.BIND)
        assert found.results == [(batch, (0, 3))]

    @pytest.mark.parametrize("error", [AbortedError("stop"), NotFoundError("gone")])
    def test_errors_that_are_not_about_rows_are_raised(self, error):
        """No row is blamed for them."""

        def fail(_start, _stop):
            raise error

        with pytest.raises(type(error)):
            isolate(_batch([1, 2]), fail, Stage.BIND)


class TestLetters:
    def test_a_letter_tells_place_stage_and_cause(self):
        """Everything that is needed to find the record again."""
        letter = bad_row(
            _batch([5, 6]), 1, Stage.PREDICT, InvalidArgumentError("too large"), ("ranker", 7)
        )
        assert letter == BadRecord(
            source_file="/data/a.parquet",
            source_row=101,
            byte_offset=None,
            stage=Stage.PREDICT,
            code="INVALID_ARGUMENT",
            message="too large",
            record=b'{"x": 6}',
            model=("ranker", 7),
        )

    def test_an_error_without_words_is_told_by_its_type(self):
        """An empty message helps nobody."""
        letter = bad_row(_batch([5]), 0, Stage.PREPROCESS, KeyError())
        assert (letter.code, letter.message) == ("INTERNAL", "KeyError")

    def test_raw_records(self):
        """A TFRecord is kept as it is, a table's row as JSON, with bytes in base64."""
        columns = pa.record_batch({"s": pa.array([b"\xff"]), "v": pa.array([[1.5, None]])})
        assert json.loads(raw_records(InputBatch(columns=columns), [0])[0]) == {
            "s": {"b64": "/w=="},
            "v": [1.5, None],
        }
        records = np.array([b"payload"], object)
        assert raw_records(InputBatch(columns=columns, records=records), [0])[0] == b"payload"

    def test_raw_records_of_damaged_text(self):
        """Text that is not UTF-8, alone or in lists and structs, is kept as bytes."""
        text = pa.array([b"\xff", b"x"]).view(pa.string())
        lists = pa.ListArray.from_arrays([0, 2, 2], text)
        structs = pa.StructArray.from_arrays([text, pa.array([1, 2])], ["t", "n"])
        columns = pa.record_batch({"s": text, "v": lists, "u": structs})
        octet = {"b64": "/w=="}
        assert json.loads(raw_records(InputBatch(columns=columns), [0])[0]) == {
            "s": octet,
            "v": [octet, "x"],
            "u": {"t": octet, "n": 1},
        }
        assert json.loads(raw_records(InputBatch(columns=columns), [1])[0])["s"] == "x"

    @pytest.mark.parametrize(
        ("array", "expected"),
        [
            (pa.array([0, 4_000_000], pa.date32()), 4_000_000),
            (pa.array([0, 2**62], pa.timestamp("s")), 2**62),
            (pa.array([0, 2**62], pa.duration("s")), 2**62),
            (pa.array([0, 7], pa.timestamp("s", "No/Where")), 7),
            (pa.array([[0], [1, 4_000_000]], pa.list_(pa.date32())), ["1970-01-02", 4_000_000]),
            (pa.array(["a", "b"], pa.string_view()), "b"),
        ],
        ids=["date", "time", "duration", "zone", "list", "view"],
    )
    def test_raw_records_of_odd_values(self, array, expected):
        """Damage makes years that Python has not, and that must not stop the others."""
        batch = InputBatch(columns=pa.record_batch({"x": array, "y": [1, 2]}))
        (record,) = raw_records(batch, [1])
        assert json.loads(record) == {"x": expected, "y": 2}

    def test_many_letters(self):
        """Some rows at once make the letters that each of them makes by itself."""
        columns = pa.record_batch(
            {
                "x": [1.5, None, 3.0],
                "t": pa.array([1, 2, 3], pa.timestamp("us", tz="UTC")),
                "s": pa.array([b"a", b"\xff", b"c"]).view(pa.string()),
                "d": pa.array(["a", "b", "a"]).dictionary_encode(),
                "l": [[b"a"], None, []],
            }
        )
        batch = replace(_batch([1, 2, 3]), columns=columns)
        errors = [ValueError("no"), InvalidArgumentError("not at all"), KeyError()]
        alone = [bad_row(batch, row, Stage.BIND, each) for row, each in enumerate(errors)]
        assert bad_rows(batch, [0, 1, 2], Stage.BIND, errors) == alone
        assert bad_rows(batch, [0, 2], Stage.BIND, errors[::2]) == alone[::2]
        assert [each.source_row for each in alone] == [100, 101, 102]
        assert json.loads(alone[1].record)["s"] == {"b64": "/w=="}
        assert json.loads(alone[0].record) == {
            "x": 1.5,
            "t": "1970-01-01 00:00:00.000001+00:00",
            "s": "a",
            "d": "a",
            "l": [{"b64": "YQ=="}],
        }

    def test_a_record_without_columns(self):
        """Rows of which nothing was read are empty objects."""
        assert raw_records(InputBatch(columns=only_rows(2)), [0, 1]) == [b"{}", b"{}"]

    def test_file_of_letters(self, tmp_path):
        """One table for all kinds of letters."""
        read = BadRecord(
            source_file="/data/a.tfrecord",
            source_row=None,
            byte_offset=4711,
            stage=Stage.READ,
            code="DATA_LOSS",
            message="checksum",
        )
        letters = [read, bad_row(_batch([5]), 0, Stage.BIND, ValueError("null"))]
        path = dead_letters_path(3, 12)
        write_dead_letters(str(tmp_path), path, letters)
        table = pq.read_table(tmp_path / "_dead_letters" / "part-00003-of-00012.parquet")
        assert table.schema.equals(SCHEMA)
        assert table.equals(to_table(letters))
        assert table["byte_offset"].to_pylist() == [4711, None]


class TestBudget:
    @pytest.mark.parametrize(
        ("budget", "failed", "read", "is_final", "is_kept"),
        [
            ({}, 10, 10, True, True),
            ({"max_failed_rows": 3}, 3, 10, True, True),
            ({"max_failed_rows": 3}, 4, 10_000, False, False),
            ({"max_failed_rows": 0}, 0, 10, True, True),
            ({"max_failed_fraction": 0.1}, 1, 10, True, True),
            ({"max_failed_fraction": 0.1}, 2, 10, True, False),
            ({"max_failed_fraction": 0.1}, 9, 10, False, True),  # too early to tell
            ({"max_failed_fraction": 0.1}, 101, 1000, False, False),
            ({"max_failed_fraction": 0.0}, 0, 0, True, True),
        ],
    )
    def test_table(self, budget, failed, read, is_final, is_kept):
        """Rows count at once, a fraction once there are rows enough."""
        checked = FailureBudget(**budget)
        if is_kept:
            checked.check(failed, read, is_final=is_final)
        else:
            with pytest.raises(FailedPreconditionError, match="records failed, more than --max_"):
                checked.check(failed, read, is_final=is_final)

    @pytest.mark.parametrize(
        "bad",
        [{"max_failed_fraction": 1.5}, {"max_failed_fraction": -0.1}, {"max_failed_rows": -1}],
    )
    def test_bounds_are_checked(self, bad):
        """A bound that means nothing is refused."""
        with pytest.raises(InvalidArgumentError, match="--max_failed_"):
            FailureBudget(**bad)
