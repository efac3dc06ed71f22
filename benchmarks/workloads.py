"""The workloads: what data and which model each has, made on first use and kept.

`python -m benchmarks.workloads tabular examples` makes some by hand. Everything lies below the
directory that BENCH_DATA names (`bench_data` when it names none); outputs go below BENCH_OUT. A new
workload is one more entry in `WORKLOADS`: a function that writes one of its files, and one that
saves its model.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from benchmarks import datasets, machine

NUM_FILES = 8
SCORE = pa.field("score", pa.float32())


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One data set and the model that scores it.

    Attributes:
        name: What the command line calls it.
        rows: Rows in one copy of the data.
        copies: How many copies keep four cores busy for about half a minute.
        model_name: The model's directory.
        suffix: That of the data's files.
        write_file: Writes one file: its path, its number, the rows in it.
        save_model: Saves the model as a version directory.
        precompute_flags: What binds the data to the model.
        prediction: The output that all systems must agree on.
    """

    name: str
    rows: int
    copies: int
    model_name: str
    suffix: str
    write_file: Callable[[Path, int, int], None]
    save_model: Callable[[Path], None]
    precompute_flags: tuple[str, ...]
    prediction: pa.Field = SCORE

    @property
    def model_base_path(self) -> Path:
        """The directory with the model's versions."""
        return data_dir() / "models" / self.model_name

    def files_dir(self, copies: int = 1) -> Path:
        """The directory with the data, or with `copies` of it."""
        return data_dir() / "data" / (self.name if copies == 1 else f"{self.name}-x{copies}")

    def files(self, copies: int = 1) -> list[Path]:
        """The data's files, in order."""
        return sorted(self.files_dir(copies).glob(f"*{self.suffix}"))

    def is_made(self, copies: int = 1) -> bool:
        """Says whether there is nothing left to make."""
        return self.files_dir(copies).exists() and (self.model_base_path / "1").exists()

    def make(self, copies: int = 1) -> None:
        """Makes what is missing of the data and the model."""
        _make_once(self.files_dir(), self._write_files)
        _make_once(self.model_base_path / "1", self.save_model)
        if copies > 1:
            _make_once(self.files_dir(copies), lambda target: self._link_copies(target, copies))

    def _write_files(self, target: Path) -> None:
        target.mkdir()
        for number in range(NUM_FILES):
            self.write_file(_part(target, number, self.suffix), number, self.rows // NUM_FILES)

    def _link_copies(self, target: Path, copies: int) -> None:
        """Gives every file `copies` names: more rows to read without more bytes on disk."""
        target.mkdir()
        for copy in range(copies):
            for path in self.files():
                os.link(path, target / f"copy-{copy:03d}-{path.name}")


def prepared(name: str, copies: int = 1) -> Workload:
    """Returns a workload whose files are there.

    They are made in another process: TensorFlow's threads are set once in a process, and the one
    that measures sets them its own way.
    """
    workload = WORKLOADS[name]
    if not workload.is_made(copies):
        command = [sys.executable, "-m", "benchmarks.workloads", name, f"--copies={copies}"]
        machine.run_or_exit(command)
    return workload


def data_dir() -> Path:
    """The directory for data, models and environments."""
    return Path(os.environ.get("BENCH_DATA", "bench_data")).resolve()


def output_dir() -> Path:
    """The directory below which every run writes."""
    return Path(os.environ.get("BENCH_OUT", "bench_out")).resolve() / "benchmark-runs"


def fresh_output_dir(name: str) -> Path:
    """Returns an empty directory of that name below the one for outputs."""
    path = output_dir() / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def _make_once(target: Path, make: Callable[[Path], None]) -> None:
    """Makes `target` under another name and renames it, so that it is there whole or not at all."""
    if target.exists():
        return
    unfinished = target.with_name(f"unfinished-{target.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    make(unfinished)
    unfinished.rename(target)


def _part(directory: Path, number: int, suffix: str) -> Path:
    return directory / f"part-{number:05d}-of-{NUM_FILES:05d}{suffix}"


def _save_tabular(version_dir: Path) -> None:
    from benchmarks import models  # here, as below: it imports TensorFlow, which takes seconds

    models.save_tabular(version_dir)


def _save_examples(version_dir: Path) -> None:
    from benchmarks import models

    models.save_examples(version_dir)


def _save_transformer(version_dir: Path) -> None:
    from benchmarks import transformer

    transformer.save(version_dir)


def _save_demo(version_dir: Path) -> None:
    from pipelines import demo_data, demo_models

    half, _ = demo_data.split(demo_data.load_table(), seed=0)
    paths = demo_models.train_versions(half, f"{version_dir}-training", seed=0)
    Path(paths[1]).rename(version_dir)  # the one that takes all columns


def _save_image_classifier(version_dir: Path) -> None:
    from benchmarks import image_classifier

    image_classifier.save(version_dir)


_TABULAR = Workload(
    name="tabular",
    rows=NUM_FILES * datasets.FEATURE_ROWS_PER_FILE,
    copies=64,
    model_name="tabular",
    suffix=".parquet",
    write_file=datasets.write_tabular,
    save_model=_save_tabular,
    precompute_flags=("--key=id", "--signature_name=columns"),
)
_DEMO = Workload(
    name="demo",
    rows=20_190,
    copies=1,
    model_name="demo",
    suffix=".parquet",
    write_file=datasets.write_demo,
    save_model=_save_demo,
    precompute_flags=("--key=id",),
    prediction=pa.field("probability", pa.float32()),
)
_EXAMPLES = Workload(
    name="examples",
    rows=100_000,
    copies=96,
    model_name="examples",
    suffix=".tfrecord",
    write_file=datasets.write_examples,
    save_model=_save_examples,
    precompute_flags=(),
)
_RAGGED = Workload(
    name="ragged",
    rows=100_000,
    copies=6,
    model_name="transformer",
    suffix=".parquet",
    write_file=datasets.write_ragged,
    save_model=_save_transformer,
    precompute_flags=("--key=id", "--input_map=ids=ids", "--input_map=mask=mask(ids)"),
)
_IMAGES = Workload(
    name="images",
    rows=20_000,
    copies=2,
    model_name="image_classifier",
    suffix=".parquet",
    write_file=datasets.write_images,
    save_model=_save_image_classifier,
    precompute_flags=("--key=id",),
    prediction=pa.field("logits", pa.list_(pa.float32(), 10)),
)
WORKLOADS = {workload.name: workload for workload in (_TABULAR, _EXAMPLES, _IMAGES, _RAGGED, _DEMO)}


def main() -> None:
    """Makes the workloads named on the command line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("workloads", nargs="+", choices=sorted(WORKLOADS))
    parser.add_argument("--copies", type=int, default=1, help="names for each file")
    args = parser.parse_args()
    for name in args.workloads:
        WORKLOADS[name].make(args.copies)


if __name__ == "__main__":
    main()
