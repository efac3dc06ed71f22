"""What docs/gates.md shows is what there is."""

import argparse
import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from pipelines.gate import add_gate_flags
from pipelines.promote import add_promote_flags
from transforms.evaluation.gate_config import MissingPolicy, parse_gate
from transforms.evaluation.gate_rules import ChangeLimits, ComparisonKind
from transforms.evaluation.verdict import Status
from transforms.evaluation.verdict_files import from_json
from transforms.metrics.metric_catalogue import metric_facts

_PAGE = (Path(__file__).resolve().parents[2] / "docs/gates.md").read_text()


def _blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)


def test_the_gate_parses_and_its_metrics_exist():
    (block,) = _blocks("yaml")
    gate = parse_gate(yaml.safe_load(block)["gate"])
    assert len(gate.rules) == 10
    known = {each.metric for each in gate.rules if metric_facts(each.metric).description}
    assert known | {"inference_errors"} == {each.metric for each in gate.rules}


def test_the_verdict_is_one():
    (block,) = _blocks("json")
    assert from_json(block).status is Status.FAIL
    assert json.loads(block)["exit_code"] == 3


@pytest.mark.parametrize(
    ("add_flags", "command"), [(add_gate_flags, "gate"), (add_promote_flags, "promote")]
)
def test_every_flag_is_documented(add_flags, command):
    parser = argparse.ArgumentParser(add_help=False)
    add_flags(parser)
    flags = {flag for action in parser._actions for flag in action.option_strings}
    table = _PAGE.partition(f"| flag of `{command}` |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(--\w+)`", table.partition("|---|---|")[2])) >= flags
    assert set(re.findall(r"^\| `(--\w+)`", table, re.MULTILINE)) == flags


def test_every_word_of_the_configuration_is_documented():
    words = [
        *(f"`{each.name}`" for each in fields(MissingPolicy)),
        *(f"{each.name}: " for each in fields(ChangeLimits)),
        *(f"test: {each.value}" for each in ComparisonKind),
    ]
    assert [word for word in words if word not in _PAGE] == []
