"""Which versions an evaluation compares: numbers, and labels that a model config file gives them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.evaluate_options import EvaluateOptions
from servable_core.config import ModelConfig
from servable_core.errors import InvalidArgumentError
from servable_core.server_core.version_labels import find_version
from servable_core.sources.version_selection import SpecificVersions, VersionPolicy
from transforms.evaluation.evaluation_config import EvaluationConfig
from transforms.model_config import read_config, select_models
from transforms.plan import PinnedModel
from transforms.plan_request import PlanRequest
from transforms.storage import absolute_path


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedVersions:
    """The versions asked for, as numbers.

    Attributes:
        baseline: None for the lowest.
        candidates: Empty for all others.
    """

    baseline: int | None = None
    candidates: tuple[int, ...] = ()

    @property
    def named(self) -> tuple[int, ...]:
        """All that were asked for by name, the baseline first."""
        return (*(() if self.baseline is None else (self.baseline,)), *self.candidates)

    def in_order(self, found: Sequence[int]) -> tuple[int, ...]:
        """Returns the versions that there are, the baseline first, then the candidates as named."""
        baseline = min(found) if self.baseline is None else self.baseline
        others = [each for each in sorted(found) if each not in self.named]
        return tuple(
            dict.fromkeys(
                [baseline, *self.candidates, *(each for each in others if each != baseline)]
            )
        )


def compared_versions(
    config: EvaluationConfig, model_name: str = "", labels: Mapping[str, int] | None = None
) -> ComparedVersions:
    """Returns the versions that a config names.

    Args:
        config: What the user asked for.
        model_name: The model, for messages.
        labels: What labels stand for; None where nothing says it.

    Raises:
        InvalidArgumentError: One is no number, and not a label either; or the baseline is a
            candidate.
    """

    def number(flag: str, text: str) -> int:
        if text.isdecimal():
            return int(text)
        if labels is None:
            raise InvalidArgumentError(
                f"{flag}={text} is no version number; labels need --model_config_file, which says what they stand for"
            )
        return find_version({model_name: labels}, model_name, text)

    baseline = None if config.baseline is None else number("--baseline", config.baseline)
    candidates = tuple(number("--candidate", each) for each in config.candidates)
    found = ComparedVersions(baseline=baseline, candidates=candidates)
    twice = {each for each in found.named if found.named.count(each) > 1}
    if twice:
        raise InvalidArgumentError(
            f"version {min(twice)} is asked for twice, as {_words(config)}: compared with itself a version is always equal; to see how much equal runs differ give --aa"
        )
    return found


def _words(config: EvaluationConfig) -> str:
    baseline = [] if config.baseline is None else [f"--baseline={config.baseline}"]
    return " ".join([*baseline, *(f"--candidate={each}" for each in config.candidates)])


def request_of_versions(options: EvaluateOptions) -> tuple[PlanRequest, ComparedVersions]:
    """Returns what the plan is made from, for the versions that are compared.

    Raises:
        InvalidArgumentError: Versions are not named, or not by what they are called.
        NotFoundError: There is no such config file, or model in it.
    """
    given = options.models
    if given.get("version_label"):
        raise InvalidArgumentError(
            f"--version_label={given['version_label']} names one version: give it as --baseline or --candidate"
        )
    model = _configured_model(given)
    name = "" if model is None else model.name
    labels = None if model is None else model.version_labels
    versions = compared_versions(options.config, name, labels)
    if model is None:
        asked = given.get("model_version") or ("all" if versions.named else None)
        if asked is None:
            raise InvalidArgumentError(
                "which versions are to be compared? Give --baseline=V and --candidate=V, or --model_version=all"
            )
        request = options.plan_request(asked, {})
        policy = request.models.versions
    else:
        place = {"model_base_path": model.base_path, "model_name": name, "model_config_file": None}
        request = options.plan_request("all", place)
        policy = model.versions
    if versions.candidates and given.get("model_version"):
        raise InvalidArgumentError(
            f"--model_version={given['model_version']} and --candidate both say which versions; give one of them"
        )
    if versions.candidates:  # and not --model_version; a baseline alone is compared with all
        policy = SpecificVersions(tuple(sorted(versions.named)))
    return _with_policy(request, policy), versions


def _with_policy(request: PlanRequest, policy: VersionPolicy) -> PlanRequest:
    return replace(request, models=replace(request.models, versions=policy))


def _configured_model(given: Mapping[str, Any]) -> ModelConfig | None:
    if not given.get("model_config_file"):
        return None
    path = absolute_path(given["model_config_file"])
    models = select_models(read_config(path), path, given.get("model_name"))
    if len(models) > 1:
        names = ", ".join(each.name for each in models)
        raise InvalidArgumentError(
            f"--model_config_file={path} lists {names}: an evaluation compares versions of one model; choose it with --model_name"
        )
    return models[0]


def ordered(models: Sequence[PinnedModel], versions: ComparedVersions) -> tuple[PinnedModel, ...]:
    """Returns the models with the baseline first.

    Raises:
        InvalidArgumentError: The baseline is not among them.
    """
    by_version = {each.version: each for each in models}
    if versions.baseline is not None and versions.baseline not in by_version:
        raise InvalidArgumentError(
            f"--baseline={versions.baseline} is not among the versions {', '.join(map(str, sorted(by_version)))} that --model_version or the config file chooses"
        )
    return tuple(by_version[each] for each in versions.in_order(list(by_version)))
