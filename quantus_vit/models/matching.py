"""Which output of a model answers for which class of the data, by name.

Plain values: knows neither models nor data sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

__all__ = ["LEFT_OUT", "match_classes", "parse_mapping"]

LEFT_OUT = ""
"""In a mapping, stands for a model's class where a class of the data has none and is left out."""


def parse_mapping(items: Iterable[str]) -> dict[str, str]:
    """Read the items of ``--classes MODEL=DATA ...``.

    Parameters
    ----------
    items : iterable of str
        Such as "Pneumothorax=pneumothorax" or "0=COVID-19"; "=Normal" leaves a class of the data out.

    Returns
    -------
    dict of str to str
        From class of the data to class of the model.

    Raises
    ------
    ValueError
        If an item is no ``MODEL=DATA``, or a class of the data occurs twice.
    """
    mapping: dict[str, str] = {}
    for item in items:
        model, equals, data = (part.strip() for part in item.partition("="))
        if not equals or not data:
            raise ValueError(f"--classes takes MODEL=DATA, such as 0=COVID-19 or =Normal, got {item!r}")
        if data in mapping:
            raise ValueError(f"--classes maps {data!r} twice, to {mapping[data]!r} and {model!r}")
        mapping[data] = model
    return mapping


def match_classes(
    model_classes: Sequence[str], data_classes: Sequence[str], mapping: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Find the output of a model for each class of the data.

    Parameters
    ----------
    model_classes : sequence of str
        Names of the model's outputs, in their order. Outputs that no class of the data needs are no fault.
    data_classes : sequence of str
        Names of the data's classes, in any order.
    mapping : mapping of str to str, optional
        From class of the data to class of the model, as :func:`parse_mapping` gives it; ``""`` leaves a class of the
        data out. Classes that are not in it are matched by name, regardless of case.

    Returns
    -------
    dict of str to int
        From class of the data to output of the model, in the order of ``data_classes``; without those left out.

    Raises
    ------
    ValueError
        If a class has no output, or several; or if the mapping names a class that there is not. The message has both
        lists.
    """
    mapping = mapping or {}
    lists = f"the model has {', '.join(model_classes)}; the data have {', '.join(data_classes)}"
    for data, model in mapping.items():
        if data not in data_classes:
            raise ValueError(f"--classes {model}={data}: the data have no class {data!r}; {lists}")
        if model != LEFT_OUT and model not in model_classes:
            raise ValueError(f"--classes {model}={data}: the model has no class {model!r}; {lists}")
    outputs: dict[str, int] = {}
    unmatched = []
    for data in data_classes:
        if data in mapping:
            if mapping[data] != LEFT_OUT:
                outputs[data] = list(model_classes).index(mapping[data])
            continue
        candidates = _candidates(model_classes, data)
        if len(candidates) > 1:
            names = ", ".join(repr(model_classes[index]) for index in candidates)
            raise ValueError(
                f"the class {data!r} of the data may be {names}; say which by --classes MODEL={data}; {lists}"
            )
        if candidates:
            outputs[data] = candidates[0]
        else:
            unmatched.append(data)
    if unmatched:
        raise ValueError(
            f"the model has no output for {', '.join(map(repr, unmatched))} of the data; {lists}; map them by "
            "--classes MODEL=DATA ..., or leave a class out by =DATA"
        )
    _check_different(outputs, model_classes, lists)
    if not outputs:
        raise ValueError(f"all classes of the data are left out; {lists}")
    return outputs


def _candidates(model_classes: Sequence[str], data: str) -> list[int]:
    """Outputs of exactly that name, else of that name in another case."""
    exact = [index for index, name in enumerate(model_classes) if name == data]
    return exact or [index for index, name in enumerate(model_classes) if name.casefold() == data.casefold()]


def _check_different(outputs: Mapping[str, int], model_classes: Sequence[str], lists: str) -> None:
    taken: dict[int, str] = {}
    for data, index in outputs.items():
        if index in taken:
            raise ValueError(
                f"{taken[index]!r} and {data!r} of the data both go to the model's {model_classes[index]!r}; {lists}"
            )
        taken[index] = data
