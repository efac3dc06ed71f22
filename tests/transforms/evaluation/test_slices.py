import pytest

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.slices import (
    SliceSpec,
    bucket_names,
    parse_slice,
    parse_slices_section,
)


class TestParseSlice:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("a=x=y", SliceSpec(columns=("a",), values={"a": ("x=y",)})),
            ("country", SliceSpec(columns=("country",))),
            ("country,device", SliceSpec(columns=("country", "device"))),
            (
                "country=DE|FR",
                SliceSpec(columns=("country",), values={"country": ("DE", "FR")}),
            ),
            ("age=[18,30,65]", SliceSpec(columns=("age",), buckets={"age": (18, 30, 65)})),
            (
                "age=[18, 0.5e2], country = DE ,device",
                SliceSpec(
                    columns=("age", "country", "device"),
                    values={"country": ("DE",)},
                    buckets={"age": (18, 50)},
                ),
            ),
        ],
    )
    def test_forms(self, text, expected):
        """Columns, crosses, named values and buckets, also together."""
        assert parse_slice(text) == expected

    @pytest.mark.parametrize("text", ["country", "a,b", "a=x|y,b=[1,2.5]"])
    def test_back_to_text(self, text):
        """A spec reads as it was written."""
        assert str(parse_slice(text)) == text

    @pytest.mark.parametrize(
        "text",
        ["", ",", "a,", ",a", "a,,b", "=x", "a=[1,2", "a=1]", "a=[1]x"],
    )
    def test_bad_syntax(self, text):
        """What is no slice is answered with the form of one."""
        with pytest.raises(InvalidArgumentError, match=r"write columns as country"):
            parse_slice(text)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("a,a", "'a' is named twice"),
            ("a=[3,2]", "numbers that increase"),
            ("a=[1,1]", "numbers that increase"),
            ("a=[1,nan]", "numbers that increase"),
            ("a=[]", "must be numbers"),
            ("a=[x]", "must be numbers"),
            ("a=x|x", "each once"),
        ],
    )
    def test_bad_values(self, text, reason):
        """Values and edges are checked."""
        with pytest.raises(InvalidArgumentError, match=reason):
            parse_slice(text)


class TestParseSlicesSection:
    def test_texts_and_mappings(self):
        """Entries are texts as on the command line, or spelt out."""
        found = parse_slices_section(
            [
                "country,device",
                {"columns": "flag", "values": {"flag": [True, None, 1.5, 2.0, "a|b"]}},
                {"columns": ["age", "country"], "buckets": {"age": [18, 30]}},
            ]
        )
        assert found == (
            SliceSpec(columns=("country", "device")),
            SliceSpec(columns=("flag",), values={"flag": ("true", "__null__", "1.5", "2", "a|b")}),
            SliceSpec(columns=("age", "country"), buckets={"age": (18, 30)}),
        )

    def test_none(self):
        """A section without entries asks for nothing."""
        assert parse_slices_section(None) == ()

    @pytest.mark.parametrize(
        "section",
        [
            "country",
            [3],
            [{}],
            [{"columns": ["a"], "bucket": {}}],
            [{"columns": ["a"], "values": ["x"]}],
            [{"columns": ["a"], "values": {"b": ["x"]}}],
            [{"columns": ["a"], "buckets": {"a": ["x"]}}],
            [{"columns": ["a"], "buckets": {"a": [1]}, "values": {"a": ["x"]}}],
        ],
    )
    def test_bad_sections(self, section):
        """Anything else is refused."""
        with pytest.raises(InvalidArgumentError):
            parse_slices_section(section)


def test_bucket_names():
    """Buckets are named by their edges, and the outer ones are open."""
    assert bucket_names((0.5, 18, 1e20)) == (
        "(-inf, 0.5)",
        "[0.5, 18)",
        "[18, 1e+20)",
        "[1e+20, inf)",
    )
