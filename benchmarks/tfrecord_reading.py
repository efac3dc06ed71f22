"""Reading TFRecord files into string tensors and columns: ours, TensorFlow's reader, and a plain scan.

    python -m benchmarks.tfrecord_reading

All readers take turns; figures are medians. Prints them and writes them to `tfrecord_reading.md` beside
this file.
"""

import gzip
import random
import statistics
import struct
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter

import pyarrow as pa

from benchmarks.machine import facts
from servable_core.runtime.masked_crc32c import masked_crc32c
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from transforms.formats.tfrecord import Feature, TFRecordOptions, read_batches
from transforms.formats.tfrecord_ranges import cut_file

PAGE = Path(__file__).with_suffix(".md")
BATCH_ROWS = 4096
NUM_REPEATS = 7
NUM_FLOATS = 10
FLOATS = [
    Feature(name=f"f{index}", value_type=pa.float32(), length=None) for index in range(NUM_FLOATS)
]
RAGGED = Feature(name="ids", value_type=pa.int64(), length=-1)
Reader = Callable[[], Iterator[int]]  # yields numbers of records


def example(source: random.Random) -> bytes:
    tf = import_tensorflow()
    made = tf.train.Example()
    for each in FLOATS:
        made.features.feature[each.name].float_list.value.append(source.random())
    ids = [source.randrange(1000) for _ in range(source.randrange(20))]
    made.features.feature[RAGGED.name].int64_list.value.extend(ids)
    made.features.feature["text"].bytes_list.value.append(source.randbytes(20))
    return made.SerializeToString()


def write(path: Path, records: list[bytes], copies: int, compression: str = "") -> Path:
    tf = import_tensorflow()
    with tf.io.TFRecordWriter(str(path), options=compression) as writer:
        for each in records * copies:
            writer.write(each)
    return path


def by_tensorflow(path: Path, batch_rows: int, parse: dict | None = None) -> Iterator[int]:
    tf = import_tensorflow()
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.autotune.enabled = False
    compression = "GZIP" if path.suffix == ".gz" else ""
    files = tf.data.TFRecordDataset(
        str(path), compression_type=compression, buffer_size=1 << 20, num_parallel_reads=None
    )
    for records in files.batch(batch_rows).with_options(options):
        if parse:
            tf.io.parse_example(records, parse)
        yield int(records.shape[0])


def by_plain_scan(path: Path, batch_rows: int, *, check: bool) -> Iterator[int]:
    tf = import_tensorflow()
    records: list[bytes] = []
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        while header := stream.read(12):
            length, checksum = struct.unpack("<QI", header)
            record, footer = stream.read(length), stream.read(4)
            if check and (
                masked_crc32c(header[:8]) != checksum
                or masked_crc32c(record) != struct.unpack("<I", footer)[0]
            ):
                raise ValueError(path)
            records.append(record)
            if len(records) == batch_rows:
                yield len(tf.constant(records, tf.string))
                records = []
    if records:
        yield len(tf.constant(records, tf.string))


def by_us(
    path: Path, batch_rows: int, features: tuple[Feature, ...] = (), crc: str = "check"
) -> Iterator[int]:
    options = TFRecordOptions(crc=crc)
    with_records = not features
    for batch in read_batches(
        str(path), features, batch_rows, with_records=with_records, options=options
    ):
        yield batch.num_rows


def by_cutting(path: Path) -> Iterator[int]:
    size = path.stat().st_size
    for part in cut_file(str(path), size, max_bytes=4 << 20, max_rows=1 << 30):
        yield part.num_rows


def measure(path: Path, readers: dict[str, Reader], num_records: int) -> Iterator[str]:
    secs: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(NUM_REPEATS + 1):  # the first is thrown away
        for name, read in readers.items():
            started = perf_counter()
            if sum(read()) != num_records:
                raise ValueError(f"{name} lost records")
            secs[name].append(perf_counter() - started)
    medians = {name: statistics.median(each[1:]) for name, each in secs.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        speed = path.stat().st_size / median / 1e6
        yield f"| {name} | {num_records / median / 1e3:,.0f} | {speed:,.0f} | {first / median:.2f} |"


def readers_of(path: Path, batch_rows: int) -> dict[str, Reader]:
    return {
        "tf.data": partial(by_tensorflow, path, batch_rows),
        "plain scan": partial(by_plain_scan, path, batch_rows, check=True),
        "plain scan without checks": partial(by_plain_scan, path, batch_rows, check=False),
        "ours": partial(by_us, path, batch_rows),
        "ours, crc=ignore": partial(by_us, path, batch_rows, crc="ignore"),
    }


def parsers_of(path: Path) -> dict[str, Reader]:
    tf = import_tensorflow()
    floats = {each.name: tf.io.FixedLenFeature([], tf.float32) for each in FLOATS}
    ragged = {RAGGED.name: tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)}
    return {
        "tf.data and parse_example, 10 floats": partial(by_tensorflow, path, BATCH_ROWS, floats),
        "ours, 10 floats": partial(by_us, path, BATCH_ROWS, tuple(FLOATS)),
        "tf.data and parse_example, a ragged feature": partial(
            by_tensorflow, path, BATCH_ROWS, ragged
        ),
        "ours, a ragged feature": partial(by_us, path, BATCH_ROWS, (RAGGED,)),
        "only finding where units begin": partial(by_cutting, path),
    }


def page(directory: Path) -> Iterator[str]:
    source = random.Random(0)
    records = [example(source) for _ in range(20_000)]
    mean = statistics.mean(map(len, records))
    plain = write(directory / "a.tfrecord", records, 10)
    compressed = write(directory / "a.tfrecord.gz", records, 10, "GZIP")
    large = write(directory / "large.tfrecord", [source.randbytes(100_000)], 2000)
    yield "## Reading TFRecord files"
    yield "\nThousands of records and megabytes of the file in a second; the ratio is to the first line.\n"
    yield "\n".join(f"- {each}" for each in facts())
    for title, path, count, readers in (
        (f"{mean:.0f} bytes each", plain, 200_000, readers_of(plain, BATCH_ROWS)),
        ("gzip", compressed, 200_000, readers_of(compressed, BATCH_ROWS)),
        ("100 KB each", large, 2000, readers_of(large, 64)),
        ("parsed to columns", plain, 200_000, parsers_of(plain)),
    ):
        yield f"\n| {title} | records | MB | ratio |\n|---|---|---|---|"
        yield from measure(path, readers, count)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        lines = list(page(Path(directory)))
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
