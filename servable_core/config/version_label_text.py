"""Moves a version label within the text of a model config file, and leaves all else as it is."""

import re
from typing import Any

from servable_core.config.text_proto import parse_text_proto
from servable_core.config.text_proto_fields import Field, Value, read_fields
from servable_core.errors import InternalError, NotFoundError

_REST_OF_LINE = re.compile(r"[^\S\n]*(?:#[^\n]*)?(?=\n|\Z)")


def with_version_label(text: str, model: str, label: str, version: int, *, place: str) -> str:
    """Returns the text with a label of a model at a version; added, if the model has none of it.

    Args:
        text: A text proto `ModelServerConfig`.
        model: Name of the model.
        label: The label.
        version: The version.
        place: File name, for messages.

    Raises:
        InvalidArgumentError: The text does not parse.
        NotFoundError: It lists no such model.
        InternalError: It is written in a way that cannot be edited.
    """
    wanted = _parse(text, place)
    index = _index_of(wanted, model, place)
    config = read_fields(text).values_of("model_config_list")[0].values_of("config")[index]
    edited = _edit(text, config, label, version)
    wanted.model_config_list.config[index].version_labels[label] = version
    if edited is None or _parse(edited, place) != wanted:
        raise InternalError(
            f"{place}: cannot edit the version_labels of model {model!r} as they are written; set {label!r} to {version} by hand"
        )
    return edited


def _parse(text: str, place: str) -> Any:
    from tensorflow_serving.config import model_server_config_pb2

    return parse_text_proto(text, model_server_config_pb2.ModelServerConfig(), place)


def _index_of(proto: Any, model: str, place: str) -> int:
    names = [config.name for config in proto.model_config_list.config]
    if model not in names:
        raise NotFoundError(f"{place} lists no model {model!r}; it lists {', '.join(names)}")
    return names.index(model)


def _edit(text: str, config: Value, label: str, version: int) -> str | None:
    entries = [each for each in config.values_of("version_labels") if _key(text, each) == label]
    if not entries:
        return _added(text, config, label, version)
    for entry in reversed(entries):  # from the back, so that places before stay where they are
        numbers = entry.values_of("value")
        if numbers:
            text = f"{text[: numbers[-1].start]}{version}{text[numbers[-1].end :]}"
        else:
            text = f"{text[: entry.end - 1].rstrip()} value: {version} {text[entry.end - 1 :]}"
    return text


def _key(text: str, entry: Value) -> str:
    """Returns the label of an entry, escapes and all."""
    found = _model_config(f"version_labels {text[entry.start : entry.end]}")
    return str(next(iter(found.version_labels)))


def _model_config(text: str) -> Any:
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    return text_format.Parse(text, model_server_config_pb2.ModelConfig())


def _added(text: str, config: Value, label: str, version: int) -> str | None:
    """Returns the text with an entry behind the last label, or the last field."""
    if not config.fields:
        return None
    labels = [each for each in config.fields if each.name == "version_labels"]
    last = (labels or config.fields)[-1]
    entry = _entry(label, version)
    rest = _REST_OF_LINE.match(text, last.end)
    indent = _indent(text, last)
    if rest is None or indent is None:
        return f"{text[: last.end]} {entry}{text[last.end :]}"
    newline = "\r\n" if "\r\n" in text else "\n"
    end = last.end + len(rest[0].removesuffix("\r"))
    return f"{text[:end]}{newline}{indent}{entry}{text[end:]}"


def _entry(label: str, version: int) -> str:
    from google.protobuf import text_format

    config = _model_config("")
    config.version_labels[label] = version
    return str(text_format.MessageToString(config, as_one_line=True, as_utf8=True)).strip()


def _indent(text: str, field: Field) -> str | None:
    """Returns the space before a field that begins its line; None if it does not."""
    before = text[text.rfind("\n", 0, field.start) + 1 : field.start]
    return None if before.strip() else before
