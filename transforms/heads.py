"""Several signatures of one model, its heads, run on the same rows as if they were one signature.

`--signature_name=a,b` stands for one that takes what either takes, and returns `a_scores` where `a`
returns `scores`. An input of one name is fed once, to both. So rows are read, converted and batched once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import SignatureSpec, TensorSpec, find_signature

Outputs = dict[str, Any]
Predict = Callable[[str, Mapping[str, Any], Sequence[str]], Outputs]


def head_names(signature_name: str) -> tuple[str, ...]:
    """Returns the signatures that `a,b` names.

    Raises:
        InvalidArgumentError: A name is empty, or there twice.
    """
    names = tuple(each.strip() for each in signature_name.split(","))
    twice = [name for name in names if names.count(name) > 1]
    if "" in names:
        raise InvalidArgumentError(
            f"--signature_name={signature_name}: a name is empty; write a, or a,b"
        )
    if twice:
        raise InvalidArgumentError(
            f"--signature_name={signature_name} names {twice[0]!r} twice; name it once"
        )
    return names


def find_heads(
    signatures: Mapping[str, SignatureSpec], signature_name: str, model: str, *, remedy: str
) -> SignatureSpec:
    """Returns the signature that `signature_name` stands for: the model's own, or several as one.

    Args:
        signatures: All of the model's, by name.
        signature_name: One name, or several with commas between them.
        model: Whose they are, for messages.
        remedy: What a message tells to do when there is no such signature.

    Raises:
        NotFoundError: The model lacks one of them.
        InvalidArgumentError: They cannot be run as one.
    """
    heads = [
        find_signature(signatures, name, model, remedy=remedy)
        for name in head_names(signature_name)
    ]
    if len(heads) == 1:
        return heads[0]
    inputs: dict[str, TensorSpec] = {}
    for each in (each for head in heads for each in head.inputs):
        other = inputs.setdefault(each.name, each)
        if other != each:
            raise InvalidArgumentError(
                f"--signature_name={signature_name}: model {model} takes both {other} and {each}, which cannot be fed with the same rows; run a job for each"
            )
    outputs = [
        replace(each, name=_output_name(head.name, each.name))
        for head in heads
        for each in head.outputs
    ]
    _check_distinct([each.name for each in outputs], signature_name, model)
    return SignatureSpec(
        name=signature_name,
        inputs=tuple(inputs[name] for name in sorted(inputs)),
        outputs=tuple(sorted(outputs, key=lambda each: each.name)),
    )


def predict_heads(
    signatures: Mapping[str, SignatureSpec],
    signature_name: str,
    inputs: Mapping[str, Any],
    outputs: Sequence[str],
    predict: Predict,
) -> Outputs:
    """Runs what `find_heads` has returned.

    Args:
        signatures: All of the model's, by name.
        signature_name: As given to `find_heads`.
        inputs: By the names of the one signature, as are `outputs`.
        outputs: What to return; a head of which nothing is wanted is not run.
        predict: Runs one of the model's own signatures, given its name, inputs and output names.
    """
    names = head_names(signature_name)
    if len(names) == 1:
        return predict(names[0], inputs, outputs)
    results: Outputs = {}
    for head in (signatures[name] for name in names):
        wanted = {
            each.name: full
            for each in head.outputs
            if (full := _output_name(head.name, each.name)) in outputs
        }
        if wanted:
            own = {each.name: inputs[each.name] for each in head.inputs}
            results |= {
                wanted[name]: value for name, value in predict(head.name, own, list(wanted)).items()
            }
    return results


def _output_name(head: str, output: str) -> str:
    return f"{head}_{output}"


def _check_distinct(names: Sequence[str], signature_name: str, model: str) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InvalidArgumentError(
            f"--signature_name={signature_name}: two outputs of model {model} would be called {twice[0]!r}; run a job for each signature"
        )
