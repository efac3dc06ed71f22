import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

from pipelines.job_run import JobFailedError
from servable_core.errors import InvalidArgumentError
from tests.jobs import read_output, run_job, values
from tests.models import call_model, save_scalars
from transforms.sampling import sample_mask

NUM_ROWS = 1000
NAMES = ("age", "income", "tenure")
CUTS = (0, 400, 700, NUM_ROWS)


@pytest.fixture(scope="module", name="table")
def _table():
    random = np.random.default_rng(0)
    columns = {name: random.normal(size=NUM_ROWS).round(3) for name in NAMES}
    columns["tenure"] = random.integers(0, 50, NUM_ROWS)
    names = [f'row "{row}",\nü' for row in range(NUM_ROWS)]
    return pa.table({"id": np.arange(NUM_ROWS), **columns, "name": names})


@pytest.fixture(scope="module", name="model")
def _model(tmp_path_factory):
    return Path(save_scalars(tmp_path_factory.mktemp("models") / "scalars", 1, NAMES))


@pytest.fixture(scope="module", name="expected")
def _expected(table, model):
    columns = {name: table[name].to_numpy().astype(np.float32) for name in NAMES}
    (outputs,) = call_model(str(model), **columns).values()
    return outputs


def _parts(table):
    return [table.slice(start, stop - start) for start, stop in itertools.pairwise(CUTS)]


def _write_csv(table, directory):
    directory.mkdir()
    for index, part in enumerate(_parts(table)):
        pcsv.write_csv(part, directory / f"{index}.csv")
    path = directory / "1.csv"
    (directory / "1.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def _write_json_lines(table, directory):
    directory.mkdir()
    for index, part in enumerate(_parts(table)):
        lines = [json.dumps(each) + "\n" for each in part.to_pylist()]
        (directory / f"{index}.jsonl").write_text("".join(lines))


_WRITE = {"csv": _write_csv, "jsonl": _write_json_lines}


@pytest.fixture(name="data", params=_WRITE)
def _data(request, table, tmp_path):
    _WRITE[request.param](table, tmp_path / "in")
    return tmp_path / "in"


def _check(output, expected):
    (name,) = set(output.column_names) - {"id", "name", "model_name", "model_version"}
    rows = output["id"].to_numpy()
    np.testing.assert_allclose(
        values(output[name]).reshape(-1), expected.reshape(-1)[rows], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("options", [{}, {"unit_bytes": 3000, "max_batch_size": 50}])
def test_every_row_once_with_its_prediction(data, model, expected, tmp_path, options):
    """Text files give the same rows as any other, texts in them unchanged."""
    report = run_job(
        model.parent, data, tmp_path / "out", key="id", passthrough=("name",), **options
    )
    output = read_output(tmp_path / "out")
    assert sorted(output["id"].to_pylist()) == list(range(NUM_ROWS))
    assert all(
        name == f'row "{row}",\nü'
        for row, name in zip(output["id"].to_pylist(), output["name"].to_pylist(), strict=True)
    )
    _check(output, expected)
    assert report.rows == NUM_ROWS


@pytest.mark.parametrize("limit", [1, 399, 400, 650])
def test_limit(data, model, tmp_path, limit):
    """The first rows are those of the first files."""
    run_job(model.parent, data, tmp_path / "out", key="id", limit=limit)
    output = read_output(tmp_path / "out")
    assert sorted(output["id"].to_pylist()) == list(range(limit))


def test_rows_without_a_key(data, model, table, tmp_path):
    """Rows are known by their file and number."""
    run_job(model.parent, data, tmp_path / "out", unit_bytes=3000)
    output = pa.concat_tables(map(pq.read_table, sorted((tmp_path / "out").glob("*/*/*.parquet"))))
    told = [
        CUTS[int(Path(path).name[0])] + row
        for path, row in zip(
            output["source_file"].to_pylist(), output["source_row"].to_pylist(), strict=True
        )
    ]
    assert told == list(range(table.num_rows))


@pytest.mark.parametrize("options", [{}, {"unit_bytes": 3000, "max_batch_size": 7}])
def test_sample(data, model, expected, tmp_path, options):
    """A sample has the same rows however the input is cut."""
    run_job(model.parent, data, tmp_path / "out", key="id", sample=0.1, sample_seed=3, **options)
    output = read_output(tmp_path / "out")
    wanted = [
        start + row
        for path, start, stop in zip(sorted(data.iterdir()), CUTS, CUTS[1:], strict=False)
        for row in np.flatnonzero(sample_mask(str(path), 0, stop - start, 0.1, 3)).tolist()
    ]
    assert sorted(output["id"].to_pylist()) == wanted
    assert 50 < len(wanted) < 150
    _check(output, expected)


def test_a_list_of_inputs(data, model, tmp_path):
    """A job may take its inputs from a list."""
    paths = sorted(map(str, data.iterdir()))
    (tmp_path / "list.txt").write_text("\n".join([paths[0], "# not the second", paths[2]]))
    run_job(model.parent, f"@{tmp_path}/list.txt", tmp_path / "out", key="id")
    output = read_output(tmp_path / "out")
    assert sorted(output["id"].to_pylist()) == [*range(400), *range(700, NUM_ROWS)]


AGES = (1.5, None, 3.5)


class TestNulls:
    @pytest.fixture(name="path", params=["csv", "jsonl", "parquet"])
    def _path(self, request, tmp_path):
        """A file of three rows, of which the second has a null."""
        table = pa.table({"id": [0, 1, 2], "age": AGES, "income": [2.5] * 3, "tenure": [3] * 3})
        path = tmp_path / f"a.{request.param}"
        if request.param == "parquet":
            pq.write_table(table, path)
        elif request.param == "csv":
            pcsv.write_csv(table, path)
        else:
            path.write_text("".join(json.dumps(each) + "\n" for each in table.to_pylist()))
        return path

    def test_error(self, path, model, tmp_path):
        """By default a null fails the job, which names column and row."""
        with pytest.raises(JobFailedError, match=rf"(?s)column 'age' has .*row 1 of {path}"):
            run_job(model.parent, path, tmp_path / "out", key="id")

    def test_default(self, path, model, tmp_path):
        """With a default it is as if that had been in the data."""
        run_job(model.parent, path, tmp_path / "out", key="id", on_null="default:10")
        output = read_output(tmp_path / "out")
        expected = [age + 2 * 2.5 + 3 * 3 for age in (1.5, 10, 3.5)]
        np.testing.assert_allclose(values(output["score"]), expected)

    def test_default_of_another_type(self, path, model, tmp_path):
        """A default that is no number is found before anything is written."""
        with pytest.raises(InvalidArgumentError, match="'none' is no value of column 'age'"):
            run_job(model.parent, path, tmp_path / "out", key="id", on_null="default:none")
        assert not (tmp_path / "out").exists()

    def test_dead_letter(self, path, model, tmp_path):
        """Rows with nulls can be put aside, and the others are written."""
        out = tmp_path / "out"
        run_job(model.parent, path, out, key="id", on_null="dead_letter", on_error="dead_letter")
        assert read_output(out)["id"].to_pylist() == [0, 2]
        (letter,) = _letters(out)
        assert (letter["source_file"], letter["source_row"]) == (str(path), 1)
        assert (letter["stage"], letter["error_message"][:12]) == ("bind", "column 'age'")
        assert json.loads(letter["record"])["id"] == 1


def _letters(out):
    parts = map(pq.read_table, sorted((out / "_dead_letters").iterdir()))
    return pa.concat_tables(parts).to_pylist()


@pytest.mark.parametrize("input_format", ["csv", "jsonl"])
@pytest.mark.parametrize("options", [{}, {"unit_bytes": 3000, "max_batch_size": 7}, {"limit": 501}])
def test_bad_rows_are_put_aside(table, model, tmp_path, input_format, options):
    """Malformed rows, and those with a value of another type, are letters with file, row and text."""
    _WRITE[input_format](table.drop_columns(["name"]), tmp_path / "in")
    (path,) = (tmp_path / "in").glob("0.*")
    lines = path.read_text().splitlines()
    header = len(lines) - 400
    bad = {3: "oops", 17: lines[header + 17].replace("17,", "17;"), 399: lines[header + 399][:-3]}
    bad[200] = "1,2" if input_format == "csv" else '{"id": 200, "age": "x"}'
    if input_format == "csv":
        bad[399] = bad[399].rpartition(",")[0]
    for row, text in bad.items():
        lines[header + row] = text
    path.write_text("\n".join(lines))
    out = tmp_path / "out"
    run_job(model.parent, tmp_path / "in", out, key="id", on_error="dead_letter", **options)
    expected = [row for row in range(options.get("limit", NUM_ROWS)) if row not in bad]
    assert read_output(out)["id"].to_pylist() == expected
    told = {each["source_row"]: each for each in _letters(out)}
    assert {row: each["record"].decode() for row, each in told.items()} == bad
    assert {each["source_file"] for each in told.values()} == {str(path)}
    with pytest.raises(JobFailedError, match=rf"row \d+ of {path}: "):
        run_job(model.parent, tmp_path / "in", tmp_path / "failed", key="id", **options)


def test_one_damaged_number_is_put_aside(model, tmp_path):
    """Wherever in a CSV it stands, also in the first row; columns that feed no input stay text."""
    path = tmp_path / "a.csv"
    path.write_text("id,age,income,tenure,code\n0,1?,2,3,7\n1,2,3,4,A7\n2,3,4,x,8\n")
    options = {"key": "id", "passthrough": ("code",)}
    run_job(model.parent, path, tmp_path / "out", on_error="dead_letter", **options)
    output = read_output(tmp_path / "out")
    assert (output["id"].to_pylist(), output["code"].to_pylist()) == ([1], ["A7"])
    letters = _letters(tmp_path / "out")
    assert [each["source_row"] for each in letters] == [0, 2]
    assert json.loads(letters[0]["record"])["age"] == "1?"
    with pytest.raises(InvalidArgumentError, match="age: float32"):
        run_job(model.parent, path, tmp_path / "refused", **options)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"sample": 0.0}, "--sample must be a fraction above 0"),
        ({"sample": 2.0}, "--sample must be a fraction above 0"),
        ({"sample_seed": 3}, "--sample_seed=3 needs --sample"),
        ({"on_null": "skip"}, "--on_null must be error, default:VALUE"),
        ({"on_null": "dead_letter"}, "--on_null=dead_letter needs --on_error=dead_letter"),
    ],
)
def test_bad_flags(data, model, tmp_path, flags, message):
    """Flags that make no sense are refused at once."""
    with pytest.raises(InvalidArgumentError, match=message):
        run_job(model.parent, data, tmp_path / "out", key="id", **flags)
