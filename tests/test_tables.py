"""The open tables: names, errors, other packages' entry points."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

from quantus_vit import tables
from quantus_vit.tables import Table


@dataclass(frozen=True)
class Fruit:
    name: str
    summary: str = "a fruit"


CHERRY = Fruit("cherry")
STONE = 3


def table(monkeypatch, *entries: tuple[str, str]) -> Table[Fruit]:
    found = [EntryPoint(name, value, "test.fruits") for name, value in entries]
    monkeypatch.setattr(tables, "entry_points", lambda group: found if group == "test.fruits" else [])
    return Table("fruit", Fruit, "test.fruits", [Fruit("apple"), Fruit("pear")])


def test_names_come_in_order_with_those_of_others_last(monkeypatch):
    fruits = table(monkeypatch, ("cherry", f"{__name__}:CHERRY"))
    assert fruits.names() == ["apple", "pear", "cherry"]
    assert fruits["cherry"] is CHERRY
    assert [fruit.name for fruit in fruits] == ["apple", "pear", "cherry"]
    assert "pear" in fruits
    assert len(fruits) == 3


def test_an_unknown_name_is_told_with_the_known_ones(monkeypatch):
    with pytest.raises(ValueError, match=r"unknown fruit 'aple'; did you mean 'apple'. there are: apple, pear"):
        table(monkeypatch)["aple"]
    with pytest.raises(ValueError, match="unknown fruit 'xyz'; there are: apple, pear"):
        table(monkeypatch).remove("xyz")


def test_a_name_is_taken_once(monkeypatch):
    fruits = table(monkeypatch)
    with pytest.raises(ValueError, match="there is a fruit 'apple' already"):
        fruits.add(Fruit("apple"))
    fruits.add(Fruit("apple", "another"), overwrite=True)
    assert fruits["apple"].summary == "another"
    fruits.remove("apple")
    assert fruits.names() == ["pear"]


@pytest.mark.parametrize(("spec", "message"), [("apple", "must be a Fruit, not str"), (Fruit(""), "non-empty string")])
def test_what_is_no_spec_is_refused(monkeypatch, spec, message):
    with pytest.raises(TypeError, match=message):
        table(monkeypatch).add(spec)


def test_a_broken_package_breaks_its_own_name_alone(monkeypatch):
    fruits = table(monkeypatch, ("fig", "no_such_package:FIG"), ("stone", f"{__name__}:STONE"))
    assert fruits["apple"].name == "apple"
    with pytest.raises(ImportError, match="the fruit 'fig' comes from 'no_such_package:FIG', which cannot be imported"):
        fruits["fig"]
    with pytest.raises(TypeError, match=r"must be a Fruit; .*:STONE' is of the class int"):
        fruits["stone"]
    with pytest.warns(UserWarning, match="cannot be imported|must be a Fruit"):
        assert [fruit.name for fruit in fruits] == ["apple", "pear"]


def test_a_clash_is_left_out_with_a_warning(monkeypatch):
    fruits = table(monkeypatch, ("apple", f"{__name__}:CHERRY"))
    with pytest.warns(UserWarning, match="is left out: there is a fruit 'apple' already"):
        assert fruits.names() == ["apple", "pear"]
    assert fruits["apple"].name == "apple"
