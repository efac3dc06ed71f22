"""`inspect`: what versions a model has, what they take and return, and how data would bind to them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from servable_core.errors import InvalidArgumentError, ServableCoreError
from servable_core.servables.saved_model.structure import read_signatures
from servable_core.servables.signature import SignatureSpec, find_signature
from servable_core.sources.storage_path_versions import VersionDirectory
from servable_core.sources.version_selection import parse_version_policy
from transforms.binding import BoundInput, try_bind
from transforms.input_map import ColumnSource, parse_input_map
from transforms.inputs import InputDescription, describe_inputs, find_inputs, input_format_of
from transforms.model_versions import find_versions, list_versions
from transforms.storage import absolute_path, file_system_for


@dataclass(frozen=True, kw_only=True, slots=True)
class InspectOptions:
    """What to show.

    Attributes:
        model_base_path: Directory with version directories.
        model_config_file: Text proto `ModelServerConfig`, instead of a base path.
        model_version: Which versions; all if not given.
        signature_name: Only this signature, or None for all.
        input: Data to bind, or nothing.
        input_format: As for a job.
        input_map: As for a job.
    """

    model_base_path: str = ""
    model_config_file: str | None = None
    model_version: str | None = None
    signature_name: str | None = None
    input: tuple[str, ...] = ()
    input_format: str | None = None
    input_map: tuple[str, ...] = ()


def inspect(options: InspectOptions) -> str:
    """Returns the whole report.

    Raises:
        ServableCoreError: There is no such model, version, signature or input. A broken version
            beside others is part of the report instead.
    """
    if not options.model_base_path:
        raise InvalidArgumentError(
            "--model_base_path is missing: the directory with the model's versions"
        )
    base_path = absolute_path(options.model_base_path)
    policy = parse_version_policy(options.model_version or "all")
    numbers = ", ".join(str(number) for number in list_versions(base_path))
    lines = [f"{base_path}: versions {numbers}"]
    description = describe_data(options)
    if description is not None:
        lines += ["", *schema_lines(options, description)]
    for number, directory in find_versions(base_path, policy).items():
        lines += ["", *_version_lines(number, directory, options, description)]
    return "\n".join(lines)


def describe_data(options: InspectOptions) -> InputDescription | None:
    """Returns what is known of the data to bind; None if there are none."""
    if not options.input:
        return None
    files = find_inputs(options.input)
    return describe_inputs(files, input_format_of(files, options.input_format), limit=None)


def schema_lines(options: InspectOptions, description: InputDescription) -> Iterator[str]:
    """Yields the lines that tell of the data."""
    files = {each.file_index for each in description.pieces}
    rows = [each.num_rows for each in description.pieces]
    total = "" if -1 in rows else f", {sum(rows):,} rows"
    kind = _FORMAT_NAMES[description.input_format]
    yield f"input {', '.join(options.input)}: {kind}, {len(files)} files{total}"
    for schema in description.schemas:
        yield from (f"  {field.name}: {_type_words(field.type)}" for field in schema)
    if len(description.schemas) > 1:
        yield f"  ({len(description.schemas)} different schemas)"


_FORMAT_NAMES = {
    "parquet": "Parquet",
    "tfrecord": "TFRecord of tf.train.Example",
    "csv": "CSV",
    "jsonl": "JSON Lines",
}


def _type_words(data_type: pa.DataType) -> str:
    return str(data_type).replace("item: ", "").replace("element: ", "")


def _version_lines(
    number: int,
    directory: VersionDirectory,
    options: InspectOptions,
    description: InputDescription | None,
) -> Iterator[str]:
    """Yields the lines of one version: its number, then its signatures, or why it is broken."""
    yield f"version {number}"
    try:
        signatures = read_signatures(
            directory.path, directory.files, file_system_for(directory.path)
        )
    except ServableCoreError as error:
        yield f"  broken: {error}"
        return
    yield from signature_lines(directory.path, signatures, options, description)


def signature_lines(
    path: str,
    signatures: Mapping[str, SignatureSpec],
    options: InspectOptions,
    description: InputDescription | None,
) -> Iterator[str]:
    """Yields the lines of the version at `path`: its signatures, and how the data would bind.

    Raises:
        NotFoundError: It has no signature of the name asked for.
    """
    if options.signature_name is not None:
        name = options.signature_name
        remedy = "choose one with --signature_name"
        signatures = {name: find_signature(signatures, name, path, remedy=remedy)}
    input_map = parse_input_map(options.input_map)
    for signature in signatures.values():
        yield f"  signature {signature.name}"
        if description is None:
            yield from (f"    input   {each}" for each in signature.inputs)
        else:
            yield from _binding_lines(signature, description, input_map)
        yield from (f"    output  {each}" for each in signature.outputs)


def _binding_lines(
    signature: SignatureSpec, description: InputDescription, input_map: dict[str, ColumnSource]
) -> Iterator[str]:
    for schema in description.schemas:
        bound = try_bind(signature, schema, input_map, has_records=description.has_records)
        yield from (f"    {_input_line(each)}" for each in bound)


def _input_line(bound: BoundInput | str) -> str:
    return f"input   {bound}" if isinstance(bound, BoundInput) else f"cannot bind: {bound}"
