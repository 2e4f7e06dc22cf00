"""Which outputs of a model explain which images of a data set: classes matched by name, one case an explanation.

Knows classifiers and records by their names; reads no pixel and runs no model.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..data import XrayDataset
from ..models import Classifier, match_classes, parse_mapping
from ..models.matching import LEFT_OUT

__all__ = ["Case", "Matching", "absent", "cases_of", "data_digest", "match_labels"]


@dataclass(frozen=True)
class Case:
    """An image and a class of it, whose explanation is scored.

    Parameters
    ----------
    index : int
        Of the image in the data set.
    identity : str
        The record's, with nothing in it that is not text.
    label : str
        Class or finding of the data, by which tables group; "no X" for an image without the finding X.
    target : int
        Output of the model that stands for it.
    positive : bool
        Whether the output should be high; False under a binary model for images of the other classes.
    """

    index: int
    identity: str
    label: str
    target: int
    positive: bool = True

    @property
    def key(self) -> tuple[str, str]:
        """What tells the case from all others of a run: the image's identity and the label."""
        return self.identity, self.label


@dataclass(frozen=True)
class Matching:
    """The classes that are compared, each with its output of the model.

    Parameters
    ----------
    outputs : dict of str to int
        Label of the data -> index of the model's output, in the data's order.
    negative : frozenset of str
        Labels that a binary model's output speaks against.
    """

    outputs: dict[str, int]
    negative: frozenset[str] = frozenset()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the data's order."""
        return tuple(self.outputs)


def absent(finding: str) -> str:
    """Label of the images without a finding."""
    return f"no {finding}"


def match_labels(
    classifier: Classifier, dataset: XrayDataset, mapping: Sequence[str] = (), findings: Sequence[str] = ()
) -> Matching:
    """Find the model's output for every class of the data, by name.

    Parameters
    ----------
    classifier : Classifier
    dataset : XrayDataset
    mapping : sequence of str
        "MODEL=DATA" where the names differ, see :func:`quantus_vit.models.parse_mapping`.
    findings : sequence of str
        Classes of the data to keep; all if empty.

    Returns
    -------
    Matching
        By :func:`quantus_vit.models.match_classes`. The one output of a binary model stands for all classes of the
        data, provided that one of them has its name.

    Raises
    ------
    ValueError
        A class has no output, or a name is unknown; the message has both lists.
    """
    labels = _labels(dataset)
    kept = [_find(name, labels) for name in findings] or labels
    given = parse_mapping(mapping)
    if classifier.task == "binary":
        return _match_binary(classifier, kept, given, dataset)
    nothing = absent(dataset.class_names[0])
    if dataset.task == "binary" and nothing not in given and nothing not in classifier.class_names:
        kept = [label for label in kept if label != nothing]  # no output speaks for the absence of a finding
    try:
        return Matching(match_classes(classifier.class_names, kept, given))
    except ValueError as error:
        if findings:
            raise
        raise ValueError(f"{error}; --findings NAME ... compares some classes alone") from error


def _match_binary(
    classifier: Classifier, kept: Sequence[str], given: Mapping[str, str], dataset: XrayDataset
) -> Matching:
    (finding,) = classifier.class_names
    named = {label: given.get(label, label) for label in kept}
    positive = {label for label, name in named.items() if name.casefold() == finding.casefold()}
    unknown = set(given.values()) - {finding, LEFT_OUT}
    misspelt = [label for label in given if label not in kept]
    if misspelt:
        raise ValueError(
            f"--classes {given[misspelt[0]]}={misspelt[0]}: the data have no class {misspelt[0]!r}; they have "
            f"{', '.join(kept)}"
        )
    if not positive or unknown:
        raise ValueError(
            f"the model has one output, {finding}; the data have {', '.join(dataset.class_names)}. One of these must "
            f"be mapped to it: --classes {shlex.quote(finding)}=DATA"
        )
    outputs = {label: 0 for label, name in named.items() if name != LEFT_OUT}
    return Matching(outputs, frozenset(outputs) - positive)


def _labels(dataset: XrayDataset) -> list[str]:
    names = list(dataset.class_names)
    return [*names, absent(names[0])] if dataset.task == "binary" else names


def _find(name: str, labels: Sequence[str]) -> str:
    for label in labels:
        if label.casefold() == name.casefold():
            return label
    raise ValueError(f"--findings: there is no {name!r} among the data's classes, {', '.join(labels)}")


def cases_of(dataset: XrayDataset, matching: Matching) -> list[Case]:
    """Every case of a data set: one an image, or for several labels an image one for each of them.

    Raises
    ------
    ValueError
        There is none.
    """
    cases = []
    for index, record in enumerate(dataset.records):
        labels = record.labels
        if dataset.task == "binary" and not labels:
            labels = (absent(dataset.class_names[0]),)
        cases += [
            Case(index, _as_text(record.identity), label, matching.outputs[label], label not in matching.negative)
            for label in labels
            if label in matching.outputs
        ]
    if not cases:
        raise ValueError(
            f"no image of the split {dataset.split} of {dataset.name} has one of the classes "
            f"{', '.join(matching.labels)}; there is nothing to compare"
        )
    return cases


def _as_text(identity: str) -> str:
    """An identity that any UTF-8 file can hold, where a data set took names of files as they are."""
    return identity.encode("utf-8", errors="backslashreplace").decode("utf-8")


def data_digest(dataset: XrayDataset) -> str:
    """Identify a split by the identities and labels of its records; where it lies and its pixels are no part of it."""
    digest = hashlib.sha256(dataset.split.encode())
    for record in dataset.records:
        digest.update("\0".join((record.identity, *record.labels)).encode(errors="backslashreplace") + b"\n")
    return digest.hexdigest()[:16]
