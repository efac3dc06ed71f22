import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

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
    return [table.slice(start, stop - start) for start, stop in zip(CUTS, CUTS[1:], strict=False)]


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


class TestNulls:
    @pytest.fixture(name="data", params=["csv", "jsonl", "parquet"])
    def _data(self, request, tmp_path):
        """Three rows, of which the second has a null."""
        table = pa.table({"id": [0, 1, 2], "age": [1.5, None, 3.5], "income": 2.5, "tenure": 3})
        return table, request.param, tmp_path

    def _written(self, data):
        _, input_format, directory = data
        rows = [{"id": i, "age": age, "income": 2.5, "tenure": 3} for i, age in AGES]
        path = directory / f"a.{input_format}"
        if input_format == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif input_format == "csv":
            pcsv.write_csv(pa.Table.from_pylist(rows), path)
        else:
            path.write_text("".join(json.dumps(each) + "\n" for each in rows))
        return path
