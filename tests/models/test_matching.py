"""Classes of model and data, matched by name."""

from __future__ import annotations

import pytest

from quantus_vit.models import match_classes, parse_mapping

MODEL = ("Normal", "COVID-19", "Non-COVID")


def test_any_order_and_case() -> None:
    assert match_classes(MODEL, ("covid-19", "Non-COVID", "NORMAL")) == {"covid-19": 1, "Non-COVID": 2, "NORMAL": 0}


def test_outputs_that_the_data_do_not_need() -> None:
    assert match_classes(MODEL, ("Normal",)) == {"Normal": 0}


def test_exact_names_go_before_names_in_another_case() -> None:
    assert match_classes(("cardigan", "Cardigan"), ("Cardigan",)) == {"Cardigan": 1}
    with pytest.raises(ValueError, match="'cardigan', 'Cardigan'"):
        match_classes(("cardigan", "Cardigan"), ("CARDIGAN",))


def test_mapping() -> None:
    mapping = parse_mapping(["0=COVID-19", "2=Normal", "=Non-COVID"])
    assert match_classes(("0", "1", "2"), ("COVID-19", "Non-COVID", "Normal"), mapping) == {"COVID-19": 0, "Normal": 2}


@pytest.mark.parametrize(
    ("data", "items", "message"),
    [
        (
            ("Normal", "Edema"),
            [],
            "for 'Edema' of the data; the model has Normal, COVID-19, Non-COVID; the data have N",
        ),
        (("Normal",), ["x=Normal"], "the model has no class 'x'"),
        (("Normal",), ["Normal=Edema"], "the data have no class 'Edema'"),
        (
            ("Normal", "Healthy"),
            ["Normal=Healthy"],
            "'Normal' and 'Healthy' of the data both go to the model's 'N",
        ),
        (("Normal",), ["=Normal"], "all classes of the data are left out"),
    ],
)
def test_refuses(data: tuple[str, ...], items: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        match_classes(MODEL, data, parse_mapping(items))


@pytest.mark.parametrize("items", [["Normal"], ["x="], ["a=x", "b=x"]])
def test_refuses_items(items: list[str]) -> None:
    with pytest.raises(ValueError, match="--classes"):
        parse_mapping(items)
