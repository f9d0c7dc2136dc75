from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hugbench.errors import UserError
from hugbench.suite.nodes import MAX_DEPTH, parse, read, resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E3", 1e3),
        (".5", 0.5),
        ("-2.", -2.0),
        ("12", 12),
        ("+7", 7),
        ("true", True),
        ("no", "no"),
        ("on", "on"),
        ("010", "010"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("8/255", "8/255"),
        ("~", None),
        ("", None),
        (".inf", math.inf),
        ("-.inf", -math.inf),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_quoted_scalars_are_words() -> None:
    assert parse("a: '12'\nb: \"true\"", "x").plain() == {"a": "12", "b": "true"}


def test_every_key_and_value_knows_its_place() -> None:
    root = parse("recipe:\n  lr: 0.1\n  milestones: [1,\n    2]\n", "s.yaml")
    assert root.at(("recipe", "lr")).mark == "s.yaml:2:7"
    assert root.at(("recipe", "lr")).key_mark == "s.yaml:2:3"
    assert root.at(("recipe", "milestones", 1)).mark == "s.yaml:4:5"
    assert root.at(("recipe", "nothing", "here")).mark == root.at(("recipe",)).mark


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a: 1\nb: 2\na: 3", "s:3:1", "duplicate key"),
        ("a: !!python/object/apply:os.system [ls]", "s:1:4", "YAML tag"),
        ("a: !!int '3'", "s:1:4", "YAML tag"),
        ("a: &x 1\nb: *x", "s:1:4", "anchor"),
        ("b: *x", "s:1:4", "alias"),
        ("a: 1\n---\nb: 2", "s:2:1", "second document"),
        ("1: 2", "s:1:1", "a key must be a word"),
        ("[a]: 2", "s:1:1", "a key must be a word"),
        ("a: [1, 2", "s:", "not YAML"),
        ("a:\n\t- 1", "s:2:1", "not YAML"),
        ("a: \x00", "s", "not YAML"),
        ("[" * 100 + "]" * 100, f"s:1:{MAX_DEPTH + 1}", "nested too deeply"),
    ],
)
def test_what_is_not_strict_yaml_is_refused_with_its_place(text: str, where: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text, "s")
    assert str(caught.value).startswith(where)
    assert words in str(caught.value)


def test_files_that_are_no_suite(tmp_path) -> None:
    with pytest.raises(UserError, match="is a directory"):
        read(tmp_path)
    with pytest.raises(UserError, match="No such file"):
        read(tmp_path / "missing.yaml")
    for text in ("", "# only a comment\n", "null", "---\n"):
        (tmp_path / "empty.yaml").write_text(text)
        with pytest.raises(UserError, match="is empty"):
            read(tmp_path / "empty.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"a: 1\n\xff\xfe\x00")
    with pytest.raises(UserError, match=r"binary\.yaml:2: byte 5 is not UTF-8"):
        read(tmp_path / "binary.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(UserError, match="larger than 1 MiB"):
        read(tmp_path / "large.yaml")


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


def tuples(value: object) -> object:
    if isinstance(value, list):
        return tuple(tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: tuples(item) for key, item in value.items()}
    return value


class Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


@given(st.dictionaries(st.text(max_size=6), plain, min_size=1, max_size=4))
def test_what_is_dumped_is_read_back(value: dict[str, object]) -> None:
    text = yaml.dump(value, Dumper=Plain, default_style='"', allow_unicode=True)
    text = text.replace("!!null ", "").replace("!!bool ", "").replace("!!int ", "").replace("!!float ", "")

    def words(item: object) -> object:
        if isinstance(item, dict):
            return {key: words(inner) for key, inner in item.items()}
        if isinstance(item, tuple | list):
            return tuple(words(inner) for inner in item)
        return item if isinstance(item, str) else Plain("").represent_data(item).value

    assert parse(text, "s").plain() == words(tuples(value))


@given(st.text(max_size=200))
def test_any_text_is_a_tree_or_a_user_error(text: str) -> None:
    try:
        parse(text, "s")
    except UserError as error:
        assert str(error).startswith("s")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_tree_or_a_user_error(tmp_path_factory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "s.yaml"
    path.write_bytes(data)
    try:
        read(path)
    except UserError as error:
        assert str(error).startswith(str(path))
