import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.options import PrecomputeOptions
from servable_core.errors import InvalidArgumentError
from tests.datasets import write_tfrecord
from tests.models import save_scalars
from transforms.evaluation.slice_catalog import build_catalog
from transforms.evaluation.slice_counts import SliceCounts
from transforms.evaluation.slice_scan import scan_unit
from transforms.evaluation.slices import parse_slice
from transforms.execution import ExecutionOptions
from transforms.planning import make_plan

_ROWS = 40


@pytest.fixture(scope="module")
def base_path(tmp_path_factory):
    """A model that takes `x` alone."""
    base = tmp_path_factory.mktemp("model")
    save_scalars(base, 1, ["x"])
    return base


def _columns():
    countries = [f"c{row % 3}" for row in range(_ROWS)]
    return {"x": [float(row) for row in range(_ROWS)], "country": countries, "n": [7] * _ROWS}


def _write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**_columns(), **columns}), path, row_group_size=15)
    return path


def _plan(base_path, inputs, texts, **options):
    named = {"country", "n"} & {name for text in texts for name in text.split(",")}
    request = PrecomputeOptions(
        model_base_path=str(base_path),
        input=(str(inputs),),
        output="unused",
        passthrough=tuple(sorted(named)),
        **options,
    )
    return make_plan(request.plan_request(), ExecutionOptions())


def _scan(plan, texts):
    """Returns how many rows have which values, as a scan of all units finds them."""
    specs = tuple(map(parse_slice, texts))
    counts = SliceCounts.merge(scan_unit(unit, plan, specs) for unit in plan.units)
    (table,) = counts.tables
    assert build_catalog(specs, counts, min_rows=1).num_slices == 1 + table.num_rows
    *columns, rows = (each.to_pylist() for each in table.columns)
    return dict(zip(map("+".join, zip(*columns, strict=True)), rows, strict=True))


def _counted(base_path, inputs, texts, **options):
    return _scan(_plan(base_path, inputs, texts, **options), texts)


_ALL = {"c0": 14, "c1": 13, "c2": 13}


_PREPROCESS = """
import pyarrow.compute as pc

fails = False

def upper(batch):
    if fails and "c2" in batch.column("country").to_pylist():
        raise ValueError("no c2")
    names = pc.utf8_upper(batch.column("country"))
    return batch.set_column(batch.schema.get_field_index("country"), "country", names)
"""


class TestScanUnit:
    def test_parquet(self, base_path, tmp_path):
        """All units of all files are counted."""
        for name in ("a", "b"):
            _write(tmp_path / f"in/{name}.parquet")
        found = _counted(base_path, tmp_path / "in", ["country"])
        assert found == {name: 2 * rows for name, rows in _ALL.items()}

    def test_tfrecord(self, base_path, tmp_path):
        """Features are bytes there, and named as texts."""
        columns = {**_columns(), "country": [each.encode() for each in _columns()["country"]]}
        path = write_tfrecord(columns, tmp_path / "a.tfrecord")
        found = _counted(base_path, path, ["country,n"])
        assert found == {f"{name}+7": rows for name, rows in _ALL.items()}

    def test_csv(self, base_path, tmp_path):
        """Text formats are read by the types that the plan has found."""
        rows = zip(*_columns().values(), strict=True)
        lines = ["x,country,n", *(f"{x},{country},{n}" for x, country, n in rows)]
        (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
        assert _counted(base_path, tmp_path / "a.csv", ["country"]) == _ALL

    def test_a_sample(self, base_path, tmp_path):
        """Only the rows that will be evaluated count."""
        path = _write(tmp_path / "a.parquet")
        found = _counted(base_path, path, ["country"], sample=0.5, sample_seed=3)
        assert 0 < sum(found.values()) < _ROWS

    def test_source_file(self, base_path, tmp_path):
        """The file can be a slice, too."""
        path = _write(tmp_path / "a.parquet")
        assert _counted(base_path, path, ["source_file"]) == {str(path): _ROWS}

    def test_preprocess(self, base_path, tmp_path, monkeypatch):
        """Columns that the user's function makes are counted as it makes them."""
        module = _module("sliced_well", tmp_path, monkeypatch)
        path = _write(tmp_path / "a.parquet")
        found = _counted(base_path, path, ["country"], preprocess=f"{module}:upper")
        assert found == {name.upper(): rows for name, rows in _ALL.items()}

    def test_rows_that_preprocess_fails_on(self, base_path, tmp_path, monkeypatch):
        """Rows that will be put aside do not count, and take no others with them."""
        module = _module("sliced_badly", tmp_path, monkeypatch)
        path = _write(tmp_path / "a.parquet")
        options = {"preprocess": f"{module}:upper", "on_error": "dead_letter"}
        plan = _plan(base_path, path, ["country"], **options)
        sys.modules[module].fails = True
        assert _scan(plan, ["country"]) == {"C0": _ALL["c0"], "C1": _ALL["c1"]}

    def test_missing_column(self, base_path, tmp_path):
        """A column that is not in the data is named."""
        path = _write(tmp_path / "a.parquet")
        with pytest.raises(InvalidArgumentError, match="slice column 'contry'"):
            _counted(base_path, path, ["contry"])

    def test_lists(self, base_path, tmp_path):
        """A column of lists is refused when it is counted."""
        path = _write(tmp_path / "a.parquet", country=[["a", "b"]] * _ROWS)
        with pytest.raises(InvalidArgumentError, match=r"'country' is list.* one value a row"):
            _counted(base_path, path, ["country"])


def _module(name, directory, monkeypatch):
    (directory / f"{name}.py").write_text(_PREPROCESS)
    monkeypatch.syspath_prepend(str(directory))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name
