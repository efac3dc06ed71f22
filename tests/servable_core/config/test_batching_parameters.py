"""The server's `BatchingParameters`: what files say, what does not go together, and who decides."""

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.config import (
    BatchingParameters,
    parse_batching_parameters,
    read_batching_parameters,
    read_model_batching_parameters,
)
from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.testing import FakeFileSystem

EXAMPLE = """
# Each field that there is.
max_batch_size { value: 256 }
batch_timeout_micros: { value: 5000 }
max_enqueued_batches < value: 100 >
num_batch_threads { value: 8 }
thread_pool_name { value: "batch_threads" }
allowed_batch_sizes: 32
allowed_batch_sizes: 128
allowed_batch_sizes: 256
pad_variable_length_inputs: true
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 128 }
"""


def _parse(text: str) -> BatchingParameters:
    return parse_batching_parameters(text, source="batching.pbtxt")


def test_the_servers_file_is_read_as_it_is() -> None:
    """Wrapped values, repeated ones, comments and both kinds of brackets."""
    assert _parse(EXAMPLE) == BatchingParameters(
        max_batch_size=256,
        batch_timeout_secs=0.005,
        max_enqueued_batches=100,
        num_batch_threads=8,
        thread_pool_name="batch_threads",
        allowed_batch_sizes=(32, 128, 256),
        pad_variable_length_inputs=True,
        enable_large_batch_splitting=True,
        max_execution_batch_size=128,
    )


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_what_a_file_does_not_say_is_none(text: str) -> None:
    """Defaults are not the file's business."""
    assert _parse(text) == BatchingParameters()


def test_a_list_may_be_written_as_one() -> None:
    """And mixed with single values, in the order of the file."""
    parameters = _parse("allowed_batch_sizes: [1, 2] allowed_batch_sizes: 4")

    assert parameters.allowed_batch_sizes == (1, 2, 4)


def test_a_flag_that_is_false_is_not_one_that_is_missing() -> None:
    """Whether it is in a wrapper or not."""
    parameters = _parse("pad_variable_length_inputs: false enable_large_batch_splitting {}")

    assert parameters.pad_variable_length_inputs is False
    assert parameters.enable_large_batch_splitting is False


def test_a_timeout_of_zero_is_one() -> None:
    """It means not to wait, and is not the default."""
    assert _parse("batch_timeout_micros {}").batch_timeout_secs == 0.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "\nmax_batch_sise { value: 3 }",
            r"batching\.pbtxt:2: BatchingParameters has no field 'max_batch_sise'; expected .*did you mean 'max_batch_size'\?",
        ),
        (
            "batch_timeout_secs { value: 3 }",
            r"batching\.pbtxt:1: .*did you mean 'batch_timeout_micros'\?",
        ),
        ("zzz: 1", r"has no field 'zzz'; expected max_batch_size, .*max_execution_batch_size$"),
        (
            "\n\nmax_batch_size: 128",
            r'batching\.pbtxt:3: Expected "{"\. Write max_batch_size { value: 128 }',
        ),
        (
            "pad_variable_length_inputs { value: true }",
            r'Expected ":"\. Write .* pad_variable_length_inputs: true',
        ),
        ("allowed_batch_sizes: 1.5", r"batching\.pbtxt:1: Couldn't parse integer: 1\.5"),
        (
            "max_batch_size {} max_batch_size {}",
            r"should not have multiple \"max_batch_size\" fields",
        ),
    ],
)
def test_mistakes_of_the_format_name_the_line_and_the_repair(text: str, message: str) -> None:
    """The nearest field for a wrong one, and the wrapper where it was forgotten."""
    with pytest.raises(InvalidArgumentError, match=message) as error:
        _parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    ["max_batch_size", "max_enqueued_batches", "num_batch_threads", "max_execution_batch_size"],
)
@pytest.mark.parametrize("value", [0, -1])
def test_counts_are_one_or_more(name: str, value: int) -> None:
    """The message names the file, the field and the value."""
    with pytest.raises(
        InvalidArgumentError, match=rf"batching\.pbtxt: {name} must be 1 or more, got {value}"
    ):
        _parse(f"{name} {{ value: {value} }}")


def test_timeouts_are_finite_and_not_negative() -> None:
    """The message has the name that files use too."""
    with pytest.raises(
        InvalidArgumentError,
        match=r"batching\.pbtxt: batch_timeout_secs \(batch_timeout_micros in files\) .* got -2\.5",
    ):
        _parse("batch_timeout_micros { value: -2500000 }")
    for timeout_secs in (float("inf"), float("nan")):
        with pytest.raises(InvalidArgumentError, match="must be finite"):
            BatchingParameters(batch_timeout_secs=timeout_secs)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([32, 8], [8, 32]), ([8, 8], [8]), ([0, 8], [8]), ([-1, 8], [8])],
)
def test_allowed_sizes_increase(sizes: list[int], expected: list[int]) -> None:
    """The message has the list as it should be."""
    with pytest.raises(InvalidArgumentError) as error:
        _parse(f"allowed_batch_sizes: {sizes}")
    assert str(error.value) == (
        "batching.pbtxt: allowed_batch_sizes must be increasing and 1 or more, "
        f"got {sizes}: write {expected}"
    )


@pytest.mark.parametrize(
    ("max_batch_size", "repair"),
    [(64, r"write \[8, 32, 64\]"), (16, r"write \[8, 16\]")],
)
def test_without_splitting_the_last_allowed_size_is_the_largest_batch(
    max_batch_size: int, repair: str
) -> None:
    """Else some batches could not be padded, or some sizes never be reached."""
    with pytest.raises(
        InvalidArgumentError,
        match=rf"must end in max_batch_size={max_batch_size}, got \[8, 32\]: {repair}, or set max_batch_size to 32",
    ):
        BatchingParameters(max_batch_size=max_batch_size, allowed_batch_sizes=(8, 32))


@pytest.mark.parametrize(
    ("max_batch_size", "sizes"),
    [(1024, (32, 128)), (None, (32, 128)), (1024, (32, 128, 1024)), (128, (32, 128)), (64, ())],
)
def test_with_splitting_the_allowed_sizes_hold_the_largest_batch(
    max_batch_size: int | None, sizes: tuple[int, ...]
) -> None:
    """They may go on to the largest request, as the server demands; those are never used."""
    parameters = BatchingParameters(
        max_batch_size=max_batch_size,
        allowed_batch_sizes=sizes,
        enable_large_batch_splitting=True,
        max_execution_batch_size=min(128, max_batch_size or 128),
    )

    assert parameters.execution_batch_sizes == sizes[:2]
    assert parameters.ignored_fields == ()


@pytest.mark.parametrize("sizes", [(32, 64), (32, 256), (32, 1024), (32, 128, 512)])
def test_with_splitting_other_allowed_sizes_are_refused(sizes: tuple[int, ...]) -> None:
    """A full batch must have an allowed size."""
    with pytest.raises(
        InvalidArgumentError,
        match=r"must end in max_execution_batch_size=128 where .*: write \[32, .*128\]",
    ):
        BatchingParameters(
            max_batch_size=1024,
            allowed_batch_sizes=sizes,
            enable_large_batch_splitting=True,
            max_execution_batch_size=128,
        )


def test_with_splitting_batches_are_as_large_as_requests_unless_told() -> None:
    """`max_batch_size` stands in for `max_execution_batch_size`."""
    with pytest.raises(InvalidArgumentError, match=r"must end in .*64 .*: write \[32, 64\]"):
        BatchingParameters(
            max_batch_size=64, allowed_batch_sizes=(32,), enable_large_batch_splitting=True
        )


def test_batches_are_not_larger_than_requests() -> None:
    """With splitting; without it the field has no effect."""
    splitting = "max_batch_size { value: 64 } max_execution_batch_size { value: 128 }"

    assert _parse(splitting).ignored_fields == ("max_execution_batch_size",)
    with pytest.raises(InvalidArgumentError, match="must be at most max_batch_size=64, got 128"):
        _parse(splitting + " enable_large_batch_splitting { value: true }")


def test_without_splitting_all_allowed_sizes_are_used() -> None:
    """Whatever `max_execution_batch_size` says in vain."""
    parameters = BatchingParameters(allowed_batch_sizes=(8, 32), max_execution_batch_size=8)

    assert parameters.execution_batch_sizes == (8, 32)
    assert BatchingParameters().execution_batch_sizes == ()


def test_a_models_own_file_holds_as_a_whole() -> None:
    """What it leaves out is a default, not the server's value; only the threads are the server's."""
    server = _parse(EXAMPLE)
    own = BatchingParameters(max_batch_size=16, num_batch_threads=2, max_execution_batch_size=4)

    effective = server.for_model(own)

    assert effective == BatchingParameters(
        max_batch_size=16,
        max_execution_batch_size=4,
        num_batch_threads=8,
        thread_pool_name="batch_threads",
        overruled_fields=("num_batch_threads",),
    )
    assert effective.ignored_fields == ("num_batch_threads", "max_execution_batch_size")


def test_flags_override_single_values() -> None:
    """Over the model's file, which is over the server's; 0, false and no sizes are values."""
    server = BatchingParameters(num_batch_threads=8, max_enqueued_batches=5)
    own = BatchingParameters(
        max_batch_size=16,
        batch_timeout_secs=0.5,
        allowed_batch_sizes=(8, 16),
        pad_variable_length_inputs=True,
        thread_pool_name="own",
    )
    flags = BatchingParameters(
        max_batch_size=32,
        batch_timeout_secs=0.0,
        allowed_batch_sizes=(),
        pad_variable_length_inputs=False,
    )

    effective = server.for_model(own).overridden_by(flags)

    assert effective == BatchingParameters(
        max_batch_size=32,
        batch_timeout_secs=0.0,
        num_batch_threads=8,
        allowed_batch_sizes=(),
        pad_variable_length_inputs=False,
        overruled_fields=("thread_pool_name",),
    )


def test_flags_must_go_with_what_they_override() -> None:
    """Values that fit alone may not fit together."""
    file = BatchingParameters(max_batch_size=32, allowed_batch_sizes=(8, 32))

    with pytest.raises(InvalidArgumentError, match=r"must end in max_batch_size=16.*\[8, 16\]"):
        file.overridden_by(BatchingParameters(max_batch_size=16))


def test_turning_splitting_on_gives_an_ignored_field_its_effect() -> None:
    """What was said in vain is kept."""
    file = BatchingParameters(max_batch_size=64, max_execution_batch_size=16)

    effective = file.overridden_by(BatchingParameters(enable_large_batch_splitting=True))

    assert (file.ignored_fields, effective.ignored_fields) == (("max_execution_batch_size",), ())
    assert effective.max_execution_batch_size == 16


def test_files_are_read_from_any_file_system(tmp_path: Path) -> None:
    """Local ones without being told."""
    (tmp_path / "batching.pbtxt").write_text(EXAMPLE)
    files = FakeFileSystem()
    files.write("gs://bucket/batching.pbtxt", EXAMPLE.encode())

    local = read_batching_parameters(str(tmp_path / "batching.pbtxt"))
    remote = read_batching_parameters("gs://bucket/batching.pbtxt", file_system=files)

    assert local == remote == _parse(EXAMPLE)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "wrong").write_text("max_batch_size {}")

    with pytest.raises(NotFoundError, match="no batching parameters file at /nowhere/file"):
        read_batching_parameters("/nowhere/file")
    with pytest.raises(InvalidArgumentError, match="binary: expected a text proto"):
        read_batching_parameters(str(tmp_path / "binary"))
    with pytest.raises(InvalidArgumentError, match=f"{tmp_path}/wrong: max_batch_size must be"):
        read_batching_parameters(str(tmp_path / "wrong"))


def test_a_models_own_file_is_in_its_version_directory() -> None:
    """Without one there is nothing to read, which is not a mistake; a bad one is."""
    files = FakeFileSystem()
    files.write("/ranker/1/saved_model.pb")
    files.write("/ranker/2/batching_params.pbtxt", b"max_batch_size { value: 8 }")
    files.write("/ranker/3/batching_params.pbtxt", b"max_batch_size: 8")

    assert read_model_batching_parameters("/ranker/1", file_system=files) is None
    assert read_model_batching_parameters("/ranker/2/", file_system=files) == BatchingParameters(
        max_batch_size=8
    )
    with pytest.raises(InvalidArgumentError, match=r"^/ranker/3/batching_params\.pbtxt:1: "):
        read_model_batching_parameters("/ranker/3", file_system=files)


@st.composite
def _parameters(draw: st.DrawFn) -> BatchingParameters:
    """Any that a file can say."""
    counts = st.none() | st.integers(1, 2**63 - 1)
    increasing = st.sets(st.integers(1, 10_000), min_size=1).map(lambda sizes: tuple(sorted(sizes)))
    sizes = draw(st.none() | increasing)
    splits = draw(st.none() | st.booleans())
    micros = draw(st.none() | st.integers(0, 10**12))
    max_batch_size = draw(counts if sizes is None else st.sampled_from((None, sizes[-1])))
    most = max_batch_size or (sizes[-1] if sizes else 2**63 - 1)
    in_sizes = st.integers(1, most) if sizes is None else st.sampled_from(sizes)
    needed = splits and sizes and not max_batch_size  # then the sizes end in it
    return BatchingParameters(
        max_batch_size=max_batch_size,
        batch_timeout_secs=None if micros is None else micros / 1e6,
        max_enqueued_batches=draw(counts),
        num_batch_threads=draw(counts),
        thread_pool_name=draw(st.none() | st.text()),
        allowed_batch_sizes=sizes,
        pad_variable_length_inputs=draw(st.none() | st.booleans()),
        enable_large_batch_splitting=splits,
        max_execution_batch_size=most if needed else draw(st.none() | in_sizes),
    )


def _render(parameters: BatchingParameters) -> str:
    """Writes a file by hand, so that it shares no mistake with the reader."""
    lines = []
    for field in fields(parameters):
        value = getattr(parameters, field.name)
        match field.name:
            case _ if value is None:
                pass
            case "allowed_batch_sizes":
                lines += [f"allowed_batch_sizes: {size}" for size in value]
            case "pad_variable_length_inputs":
                lines.append(f"pad_variable_length_inputs: {str(value).lower()}")
            case "batch_timeout_secs":
                lines.append(f"batch_timeout_micros {{ value: {round(value * 1e6)} }}")
            case "thread_pool_name":
                lines.append(f"thread_pool_name {{ value: {_quoted(value)} }}")
            case "enable_large_batch_splitting":
                lines.append(f"enable_large_batch_splitting {{ value: {str(value).lower()} }}")
            case "overruled_fields":
                assert value == ()
            case name:
                lines.append(f"{name} {{ value: {value} }}")
    return "\n".join(lines)


def _quoted(value: str) -> str:
    return '"' + "".join(f"\\{byte:03o}" for byte in value.encode()) + '"'


@given(parameters=_parameters(), data=st.data())
def test_what_is_written_is_read_back(parameters: BatchingParameters, data: st.DataObject) -> None:
    """Whatever the values, in whatever order of the fields."""
    lines = _render(parameters).split("\n")
    names = {line.split()[0] for line in lines if line}
    if "allowed_batch_sizes:" not in names:  # whose order counts
        lines = data.draw(st.permutations(lines))

    assert _parse("\n".join(lines)) == parameters


@given(base=_parameters())
def test_nothing_given_overrides_nothing(base: BatchingParameters) -> None:
    """And everything given overrides everything."""
    assert base.overridden_by(BatchingParameters()) == base
    assert BatchingParameters().overridden_by(base) == base
    assert base.overridden_by(base) == base
