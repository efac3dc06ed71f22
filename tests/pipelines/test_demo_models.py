import numpy as np
import pytest

from pipelines import demo_data, demo_models


@pytest.fixture(scope="module", name="halves")
def _halves():
    return demo_data.split(demo_data.load_table(), seed=0)


@pytest.fixture(scope="module", name="paths")
def _paths(halves, tmp_path_factory):
    return demo_models.train_versions(halves[0], str(tmp_path_factory.mktemp("model")), seed=0)


@pytest.fixture(scope="module", name="probabilities")
def _probabilities(paths, halves):
    return [_predict(path, halves[1]) for path in paths]


def _signature(path):
    import tensorflow as tf

    model = tf.saved_model.load(path)
    return model, model.signatures["serving_default"]  # the signature dies with the model


def _predict(path, table):
    _model, call = _signature(path)
    names = call.structured_input_signature[1]
    output = call(**{name: table[name].to_numpy().reshape(-1, 1) for name in names})
    return output[demo_models.OUTPUT].numpy()


def _log_loss(probabilities, table):
    p = probabilities[:, 0].astype(np.float64)
    return -np.log(np.where(table["visited"].to_numpy() == 1, p, 1 - p))


def _standard_errors(difference):
    return difference.mean() / (difference.std(ddof=1) / np.sqrt(len(difference)))


class TestExport:
    def test_versions_are_numbered_directories(self, paths):
        assert [path.rsplit("/", 1)[1] for path in paths] == ["1", "2", "3"]

    @pytest.mark.parametrize(
        ("version", "features"),
        [(1, demo_models.BASELINE_FEATURES), (2, demo_data.FEATURES), (3, demo_data.FEATURES)],
    )
    def test_signature_is_one_input_per_column_and_a_probability(self, paths, version, features):
        _model, call = _signature(paths[version - 1])
        inputs = call.structured_input_signature[1]
        assert {name: (spec.shape.as_list(), spec.dtype.name) for name, spec in inputs.items()} == {
            name: ([None, 1], "float32") for name in features
        }
        outputs = call.structured_outputs
        assert {name: spec.shape.as_list() for name, spec in outputs.items()} == {
            "probability": [None, 1]
        }

    def test_outputs_are_probabilities(self, probabilities, halves):
        for output in probabilities:
            assert output.shape == (halves[1].num_rows, 1)
            assert np.all((output > 0) & (output < 1))
            assert output.mean() == pytest.approx(
                np.mean(halves[1]["visited"].to_numpy()), abs=0.05
            )

    def test_same_seed_gives_the_same_model(self, probabilities, halves, tmp_path):
        again = demo_models.train_versions(halves[0], str(tmp_path), seed=0)
        for path, expected in zip(again, probabilities, strict=True):
            np.testing.assert_allclose(_predict(path, halves[1]), expected, atol=1e-4)


class TestLoggingFault:
    def test_fault_loses_most_visits_in_the_slice_only(self):
        labels = np.array([1, 1, 1, 1, 0, 1, 1, 0])
        in_slice = np.array([True, True, True, True, True, False, False, False])
        recorded = demo_models._lose_visits(labels, in_slice, seed=0)
        assert recorded[:4].sum() == 1
        assert recorded[4:].tolist() == labels[4:].tolist()
        assert labels.sum() == 6

    def test_version_3_is_better_than_1_overall_and_worst_in_the_slice(self, probabilities, halves):
        in_slice = halves[1][demo_models.FAULTY_SLICE].to_numpy() == 1
        loss = [_log_loss(output, halves[1]) for output in probabilities]
        assert _standard_errors(loss[0] - loss[1]) > 4
        assert _standard_errors(loss[0] - loss[2]) > 4
        assert _standard_errors((loss[2] - loss[0])[in_slice]) > 3
        assert _standard_errors((loss[2] - loss[1])[in_slice]) > 3
