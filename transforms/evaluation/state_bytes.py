"""States as bytes, on their way between workers: Arrow IPC, the same in every Python."""

import pyarrow as pa

from transforms.metrics import Evaluation, States

_COLUMNS = pa.schema([("name", pa.string()), ("content", pa.large_binary())])


def encode_states(evaluation: Evaluation, states: States) -> bytes:
    """Returns the states as bytes; equal states give equal bytes."""
    tables = sorted(evaluation.to_tables(states).items())
    contents = [_encode_table(table) for _, table in tables]
    columns = [[name for name, _ in tables], contents]
    return _encode_table(pa.table(columns, schema=_COLUMNS))


def decode_states(evaluation: Evaluation, content: bytes) -> States:
    """Returns the states of which `encode_states` made `content`."""
    tables = _decode_table(content)
    names, contents = (tables.column(name) for name in _COLUMNS.names)
    return evaluation.from_tables(
        {
            name.as_py(): _decode_table(each.as_buffer())
            for name, each in zip(names, contents, strict=True)
        }
    )


def _encode_table(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _decode_table(content: bytes | pa.Buffer) -> pa.Table:
    with pa.ipc.open_stream(content) as reader:
        return reader.read_all()
