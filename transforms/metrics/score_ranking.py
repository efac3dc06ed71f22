"""The family of metrics of the order of scores, and of the calibration line."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from transforms.metrics import certain_values, delong, float_bins, ranking
from transforms.metrics.array_types import Booleans, Floats, Integers
from transforms.metrics.calibration import NO_LINE, calibration_line
from transforms.metrics.channels import Channels
from transforms.metrics.effective_clusters import effective_clusters, effective_share_rows
from transforms.metrics.estimate import Method
from transforms.metrics.estimates import Estimates, method_places
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.float_bins import Scale
from transforms.metrics.grouping import ranges
from transforms.metrics.histogram import Histogram
from transforms.metrics.histogram_options import HistogramOptions
from transforms.metrics.jackknife import jackknifed_columns
from transforms.metrics.metric_column import MetricColumn
from transforms.metrics.metric_family import States
from transforms.metrics.ranking import Bounded, Ranks
from transforms.metrics.ratios import ratio
from transforms.metrics.slice_distributions import SliceDistributions

# Within so many standard errors of 0 or 1 an AUC of samples is not quite normal.
_NORMAL_DISTANCE = 5.0
# Bins per octave of the joint distribution: DeLong's error mostly needs no more.
_JOINT_MANTISSA_BITS = 3
# How much of an AUC's distance to 0 or 1 these bins may blur; scores in a narrow band share them.
_MAX_BLUR = 0.01
# Bins of the distributions that the jackknife leaves blocks out of. Thousands of scores have more,
# as a few positives may lie among very many negatives there.
_JACKKNIFE_BINS = 256
_JACKKNIFE_BINS_OF_MANY = 512
# Of the calibration lines without a block, of which only the spread counts.
_JACKKNIFE_TOLERANCE = 1e-4
_AVERAGE_PRECISION = "average_precision"
_LINES = ("calibration_intercept", "calibration_slope")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreRanking:
    """A family of metrics of scores that another family keeps.

    Attributes:
        scores: The distributions of scores; see `Channels`.
        max_false_positive_rate: Of the partial AUC.
        min_precision: Of the recall at a precision.
        uses_delong: Whether rows are independent and of equal weight, as DeLong's error needs;
            the jackknife serves the AUC if not, and all else anyway.
        has_joint: Whether to keep the joint distribution that DeLong's error of a difference
            needs; only for one distribution per version.
    """

    scores: Channels
    max_false_positive_rate: float = 0.1
    min_precision: float = 0.9
    uses_delong: bool = True
    has_joint: bool = True

    @property
    def _num_bins(self) -> int:
        return float_bins.num_bins(self.scores.options.scale, _JOINT_MANTISSA_BITS)

    @property
    def _joint_options(self) -> HistogramOptions:
        """How pairs of bins are held: as numbers that are never put into bins themselves."""
        return HistogramOptions(
            scale=Scale.REAL,
            num_channels=self.scores.num_versions,
            num_blocks=1,
            max_distinct=1 << 32,
        )

    def create(self) -> States:
        """Returns the joint distributions of no rows."""
        return {self._joint: Histogram.empty(self._joint_options)} if self.has_joint else {}

    @property
    def _joint(self) -> str:
        return f"{self.scores.name}_joint"

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the joint distributions of the rows of a batch."""
        if not self.has_joint:
            return {}
        ordered = self.scores.ordered(batch)[:, 0]
        bins = float_bins.to_bins(ordered, self.scores.options.scale, _JOINT_MANTISSA_BITS)
        pairs = bins[0] * np.uint32(self._num_bins) + bins[1:]
        found = Histogram.of_rows(
            self._joint_options,
            batch.slices,
            channels=range(1, self.scores.num_versions),
            numbers=pairs,
            labels=self.scores.labels(batch)[:1],
            blocks=np.zeros(batch.num_rows, dtype=np.int64),
        )
        return {self._joint: found}

    def finalise_slices(
        self, states: Mapping[str, Any], slice_ids: Integers
    ) -> Iterator[MetricColumn]:
        """Yields the metrics of each distribution, and the mean AUC of several."""
        aucs = [_Aucs(slice_ids) for _ in self.scores.sub_keys]
        for place, of_place in enumerate(aucs):
            for some in self.scores.alike(states, slice_ids, place, _JACKKNIFE_BINS):
                yield from self._finalised(states, some, place, of_place)
        if len(aucs) > 1:
            yield from _mean_aucs(aucs)

    def _finalised(
        self, states: Mapping[str, Any], slice_ids: Integers, place: int, aucs: "_Aucs"
    ) -> Iterator[MetricColumn]:
        """Yields the metrics of one distribution on slices that are alike, and notes its AUCs."""
        sub_key = self.scores.sub_keys[place]
        distributions = self.scores.of_versions(states, slice_ids, place)
        versions = [*map(_Version, distributions)]
        block_weights = distributions[0].block_weights
        class_rows = np.stack([*map(self._class_rows, distributions)], axis=-1)
        metrics = self._metrics()
        without = [each.without_blocks(metrics) for each in versions]
        for name, metric in metrics.items():
            value = _of_versions(metric, versions)
            others = np.stack([each[name] for each in without], axis=-1)
            found = jackknifed_columns(
                name, slice_ids, value, others, block_weights, sub_key=sub_key
            )
            if name == "auc":
                aucs.note(slice_ids, value, others, block_weights, class_rows)
                found = (self._with_auc_intervals(states, each, versions) for each in found)
            yield from certain_values.with_doubt(
                found,
                partial(_bounded, class_rows) if name == "auc" else _unknown,
                partial(_are_same, versions),
            )
        for name in versions[0].lines:
            lines = np.stack([each.lines[name] for each in versions], axis=-1)
            others = np.stack([each[name] for each in without], axis=-1)
            yield from jackknifed_columns(
                name, slice_ids, lines, others, block_weights, sub_key=sub_key
            )

    def _metrics(self) -> dict[str, Callable[..., Bounded]]:
        most, least = self.max_false_positive_rate, self.min_precision
        return {
            "auc": ranking.auc,
            _AVERAGE_PRECISION: ranking.average_precision,
            "ks": ranking.ks_statistic,
            f"partial_auc_{most:g}": partial(ranking.partial_auc, max_false_positive_rate=most),
            f"recall_at_precision_{least:g}": partial(
                ranking.recall_at_precision, min_precision=least
            ),
        }

    def _with_auc_intervals(
        self, states: Mapping[str, Any], column: MetricColumn, versions: "Sequence[_Version]"
    ) -> MetricColumn:
        """Returns AUCs, or differences of two, with DeLong's errors where these are right.

        Args:
            states: Of the whole evaluation.
            column: The AUCs with the jackknife's errors.
            versions: The distributions that they are of.
        """
        estimates, version = column.estimates, versions[column.version]
        if not column.is_difference:
            return replace(column, estimates=self._own_aucs(estimates, version))
        if not (self.uses_delong and self.has_joint):
            return column
        joint = self._joint_counts(states, column.slice_ids, column.version)
        errors = delong.auc_difference_standard_errors(joint)
        # Scores may have moved within the bins alone, which do not tell how far.
        is_right = (errors != 0) | (estimates.value == 0)
        is_right &= ~_are_blurred(joint, (versions[0], version))
        return replace(column, estimates=_by_delong(estimates, errors).where(is_right, estimates))

    def _own_aucs(self, aucs: Estimates, version: "_Version") -> Estimates:
        """Returns AUCs of a version; near 0 or 1, where they are lopsided, with Wilson's intervals."""
        if self.uses_delong:
            aucs = _by_delong(aucs, delong.auc_standard_errors(version.ranks))
        distance = np.minimum(aucs.value, 1 - aucs.value)
        is_near = distance < _NORMAL_DISTANCE * aucs.standard_error
        is_near &= ~certain_values.are_certain(aucs)
        methods = method_places(is_near, Method.WILSON)
        rows = self._effective_rows(aucs, version)
        return replace(aucs, methods=methods, effective_rows=rows).where(is_near, aucs)

    def _effective_rows(self, aucs: Estimates, version: "_Version") -> Floats:
        """Returns of how many rows shares would vary as much (as Korn and Graubard, 1998).

        One pair may have all the variance that was seen, so there are at most the rows there are.
        """
        if self.uses_delong:
            rows = version.ranks.num_positives + version.ranks.num_negatives
            spread, variance = aucs.value * (1 - aucs.value), np.square(aucs.standard_error)
            return np.minimum(ratio(spread, variance), rows)
        weights = version.scores.block_weights
        rows = effective_clusters(weights)
        return effective_share_rows(aucs.value, aucs.standard_error, weights, rows)

    def _class_rows(self, scores: SliceDistributions) -> Floats:
        """Returns how many rows the smaller class has, or is worth."""
        weights = scores.label_block_weights
        rows = weights.sum(axis=-1) if self.uses_delong else effective_clusters(weights)
        return rows.min(axis=1)

    def _joint_counts(
        self, states: Mapping[str, Any], slice_ids: Integers, version: int
    ) -> delong.JointCounts:
        joint: Histogram = states[self._joint]
        cells, options = joint.cells, joint.options
        found = cells.of_groups(slice_ids * options.num_channels + version)
        where = ranges(found.starts, found.sizes)
        baseline, candidate = np.divmod(cells.numbers[where].astype(np.int64), self._num_bins)
        return delong.JointCounts(
            num_slices=slice_ids.size,
            slices=np.repeat(np.arange(slice_ids.size), found.sizes),
            labels=(cells.places[where] // options.num_blocks).astype(np.int64),
            baseline=baseline,
            candidate=candidate,
            counts=cells.amounts[where],
        )


class _Version:
    """One version's distributions on some slices.

    Attributes:
        scores: The distributions.
        ranks: Of all rows, [slices, bins].
        lines: Intercepts and slopes of the calibration lines by name; none but of probabilities.
    """

    def __init__(self, scores: SliceDistributions) -> None:
        self.scores = scores
        negatives, positives = scores.total.swapaxes(0, 1)
        self.ranks = Ranks(positives, negatives)
        is_fine = scores.sizes.max(initial=0) > _JACKKNIFE_BINS  # all of them, or none is
        max_bins = _JACKKNIFE_BINS if scores.is_exact else _JACKKNIFE_BINS_OF_MANY
        self._coarse = scores.coarsened(max_bins) if is_fine else scores
        self._near = NO_LINE
        self.lines: dict[str, Floats] = {}
        if scores.options.scale is Scale.PROBABILITY:
            # Nearly the same line, and found sooner, so most steps are taken towards it.
            negatives, positives = self._coarse.total.swapaxes(0, 1)
            self._near = calibration_line(self._coarse.middle, positives, negatives)
            fine = (scores.middle, self.ranks.positives, self.ranks.negatives)
            lines = calibration_line(*fine, self._near) if is_fine else self._near
            self.lines = dict(zip(_LINES, lines, strict=True))

    def without_blocks(self, metrics: Mapping[str, Callable[..., Bounded]]) -> dict[str, Floats]:
        """Returns metrics and lines without each block in turn, [slices, blocks], by name.

        In a few hundred bins, and a few slices at a time, which stay in a processor's cache.
        """
        scores = self._coarse
        shape = (scores.sizes.size, scores.options.num_blocks)
        found = {name: np.empty(shape) for name in (*metrics, *self.lines)}
        for some, (negatives, positives) in scores.leave_one_out():
            ranks = Ranks(positives, negatives)
            for name, metric in metrics.items():
                # No bounds are asked for, and no other value depends on the order in bins.
                is_exact = scores.is_exact or name != _AVERAGE_PRECISION
                found[name][some] = metric(ranks, is_exact=is_exact).value
            if self.lines:
                intercepts, slopes = self._near
                near = (intercepts[some, None], slopes[some, None])
                middle = scores.middle[some, None]
                lines = calibration_line(
                    middle,
                    ranks.positives,
                    ranks.negatives,
                    near,
                    tolerance=_JACKKNIFE_TOLERANCE,
                )
                for name, line in zip(_LINES, lines, strict=True):
                    found[name][some] = line
        return found


class _Aucs:
    """The AUCs of one distribution of all slices, to take the mean of several distributions of."""

    def __init__(self, slice_ids: Integers) -> None:
        self.slice_ids = slice_ids
        self._parts: list[tuple[Integers, Bounded, Floats, Floats, Floats]] = []

    def note(
        self,
        slice_ids: Integers,
        value: Bounded,
        others: Floats,
        block_weights: Floats,
        class_rows: Floats,
    ) -> None:
        """Takes in the AUCs of some slices."""
        self._parts.append((slice_ids, value, others, block_weights, class_rows))

    def all(self) -> tuple[Bounded, Floats, Floats, Floats]:
        """Returns AUCs, those without each block, weights of blocks, and rows of the smaller class."""
        ids, values, *rest = zip(*self._parts, strict=True)
        order = np.argsort(np.concatenate(ids))
        bounds = (np.concatenate(each)[order] for each in zip(*values, strict=True))
        others, weights, class_rows = (np.concatenate(each)[order] for each in rest)
        return Bounded(*bounds), others, weights, class_rows


def _mean_aucs(aucs: Sequence[_Aucs]) -> Iterator[MetricColumn]:
    values, others, weights, class_rows = zip(*(each.all() for each in aucs), strict=True)
    mean = Bounded(*np.mean(values, axis=0))
    found = jackknifed_columns(
        "macro_auc", aucs[0].slice_ids, mean, np.mean(others, axis=0), weights[0]
    )
    fewest = np.min(class_rows, axis=0)
    yield from certain_values.with_doubt(found, partial(_bounded, fewest))


def _bounded(class_rows: Floats, found: MetricColumn) -> Estimates:
    """Returns AUCs of scores that separate the classes, as sure as the smaller one is large."""
    return certain_values.shares(found.estimates, class_rows[:, found.version])


def _unknown(found: MetricColumn) -> Estimates:
    return certain_values.unknown(found.estimates)


def _are_same(versions: Sequence[_Version], version: int) -> Booleans:
    """Returns on which slices the scores of a version are distributed as those of the baseline."""
    one, other = versions[0].scores, versions[version].scores
    bins = min(one.lower.shape[1], other.lower.shape[1])  # of which equal ones have no more
    is_same: Booleans = one.sizes == other.sizes
    is_same &= (one.lower[:, :bins] == other.lower[:, :bins]).all(axis=1)
    is_same &= (one.total[..., :bins] == other.total[..., :bins]).all(axis=(1, 2))
    return is_same


def _by_delong(aucs: Estimates, errors: Floats) -> Estimates:
    return replace(
        aucs,
        standard_error=errors,
        degrees_of_freedom=np.full(errors.size, np.inf),
        methods=method_places(~np.isnan(errors), Method.DELONG),
    )


def _are_blurred(joint: delong.JointCounts, versions: Sequence[_Version]) -> Booleans:
    """Returns for which slices the joint distribution's bins are too wide for DeLong's error.

    They tie scores that differ, which makes it several times too large.
    """
    found = np.zeros(joint.num_slices, dtype=bool)
    for bins, each in zip((joint.baseline, joint.candidate), versions, strict=True):
        auc = ranking.auc(each.ranks, is_exact=each.scores.is_exact).value
        found |= np.abs(delong.aucs_of_bins(joint, bins) - auc) > _MAX_BLUR * np.minimum(
            auc, 1 - auc
        )
    return found


def _of_versions(metric: Callable[..., Bounded], versions: Sequence[_Version]) -> Bounded:
    """Returns a metric of all rows, [slices, versions]."""
    found = [metric(each.ranks, is_exact=each.scores.is_exact) for each in versions]
    return Bounded(*(np.stack(each, axis=-1) for each in zip(*found, strict=True)))
