"""Labels moved within real config files: one number changes, and not a comment moves."""

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.config import model_server_config_pb2

from servable_core.config.version_label_text import with_version_label
from servable_core.errors import InvalidArgumentError, NotFoundError

_COMMENTED = """\
# Models of the shop { with a bracket
model_config_list: {
  config: {
    name: "filter"   # not this one
    base_path: "/models/filter"
    model_platform: "tensorflow"
    version_labels { key: "stable" value: 1 }
  }
  config {
    name: 'ranker', base_path: "/models/" "ranker"; # two strings
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 7 versions: 9 } }
    # version_labels { key: "stable" value: 5 }
    version_labels {
      key: "stable"  # what users see }
      value: 7       # since March
    }
    version_labels { key: "canary" value: 9 }  # half of them
  }
}
"""


def _move(text, label="stable", version=9, model="ranker"):
    return with_version_label(text, model, label, version, place="models.config")


def _parsed(text):
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


def _config(*fields):
    return f"model_config_list {{\n  config {{\n    {' '.join(fields)}\n  }}\n}}\n"


def test_one_number_changes():
    assert _move(_COMMENTED) == _COMMENTED.replace("value: 7       #", "value: 9       #")


def test_a_label_is_added_behind_the_others():
    line = '    version_labels { key: "canary" value: 9 }  # half of them\n'
    added = '    version_labels { key: "beta" value: 9 }\n'
    assert _move(_COMMENTED, "beta") == _COMMENTED.replace(line, line + added)


def test_the_first_label_is_added_behind_the_last_field():
    text = 'model_config_list {\n\tconfig {\n\t\tname: "ranker" # it\n\t\tbase_path: "/r"\n\t}\n}\n'
    expected = text.replace('"/r"\n', '"/r"\n\t\tversion_labels { key: "stable" value: 9 }\n')
    assert _move(text) == expected


def test_lines_end_as_the_others_do():
    text = _COMMENTED.replace("\n", "\r\n")
    added = '    version_labels { key: "beta" value: 9 }\r\n'
    assert added in _move(text, "beta")
    assert "\n" not in _move(text, "beta").replace("\r\n", "")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ('version_labels { key: "stable" value: 7 }', 'version_labels { key: "stable" value: 9 }'),
        ('version_labels { value: 7 key: "stable" }', 'version_labels { value: 9 key: "stable" }'),
        ("version_labels < key: 'stable' value: 7 >", "version_labels < key: 'stable' value: 9 >"),
        ('version_labels: {key:"stable",value:7};', 'version_labels: {key:"stable",value:9};'),
        (
            'version_labels { key: "sta" "ble" value: 0x7 }',
            'version_labels { key: "sta" "ble" value: 9 }',
        ),
        (
            'version_labels { key: "st\\141ble" value: 7 }',
            'version_labels { key: "st\\141ble" value: 9 }',
        ),
        ('version_labels { key: "stable" }', 'version_labels { key: "stable" value: 9 }'),
        (
            'version_labels: [{ key: "a" value: 7 }, { key: "stable" value: 7 }]',
            'version_labels: [{ key: "a" value: 7 }, { key: "stable" value: 9 }]',
        ),
        (
            'version_labels { key: "stable" value: 5 } version_labels { key: "stable" value: 7 }',
            'version_labels { key: "stable" value: 9 } version_labels { key: "stable" value: 9 }',
        ),
    ],
)
def test_all_ways_to_write_a_label(fields, expected):
    start = 'name: "ranker" base_path: "/r"'
    assert _move(_config(start, fields)) == _config(start, expected)


def test_all_on_one_line():
    text = 'model_config_list { config { name: "ranker" base_path: "/r" } }'
    assert _move(text) == (
        'model_config_list { config { name: "ranker" base_path: "/r"'
        ' version_labels { key: "stable" value: 9 } } }'
    )


def test_models_in_a_list():
    text = 'model_config_list { config: [{ name: "a" base_path: "/a" }, { name: "ranker" base_path: "/r" }] }'
    moved = _move(text)
    assert dict(_parsed(moved).model_config_list.config[1].version_labels) == {"stable": 9}
    assert not _parsed(moved).model_config_list.config[0].version_labels


def test_a_label_that_is_there_already_changes_nothing():
    assert _move(_COMMENTED, "canary", 9) == _COMMENTED


def test_no_such_model():
    with pytest.raises(NotFoundError, match="lists no model 'x'; it lists filter, ranker"):
        _move(_COMMENTED, model="x")


def test_what_does_not_parse():
    with pytest.raises(InvalidArgumentError, match=r"models\.config:1"):
        _move("model_config_list {")


_SPACES = st.sampled_from([" ", "\n", "\n  ", "  # { a \"comment' }\n", "\r\n"])
_LABELS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(
    labels=st.dictionaries(_LABELS, st.integers(0, 2**63 - 1), max_size=4),
    label=_LABELS,
    version=st.integers(0, 2**63 - 1),
    spaces=st.lists(_SPACES, min_size=1, max_size=5),
)
def test_nothing_else_changes_whatever_is_written(labels, label, version, spaces):
    """The file before and after differ, to the server, in one label alone."""
    config = model_server_config_pb2.ModelServerConfig()
    for name in ("filter", "ranker"):
        model = config.model_config_list.config.add(name=name, base_path="/models")
        model.version_labels.update(labels)
    text = text_format.MessageToString(config, as_utf8=True)
    parts = text.split("\n")
    text = "".join(part + spaces[place % len(spaces)] for place, part in enumerate(parts))
    config = _parsed(text)
    config.model_config_list.config[1].version_labels[label] = version
    assert _parsed(_move(text, label, version)) == config
