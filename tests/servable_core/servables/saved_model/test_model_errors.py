from servable_core.servables.saved_model.model_errors import load_error


def test_what_is_quoted_of_a_corrupt_graph_is_printable():
    """The message is one line that a terminal can show."""
    error = load_error(
        "ranker/1", ValueError("Op type not registered 'Read\x16\x00ariableOp'\nmore")
    )
    assert str(error) == (
        "model ranker/1 cannot be loaded: Op type not registered 'ReadariableOp';"
        " copy or export the version again"
    )
