"""Whether splits keep patients apart.

Knows the record of a data set.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from ..data.base import XrayDataset

__all__ = ["shared_patients"]


def shared_patients(sources: Mapping[str, XrayDataset]) -> list[str]:
    """Say which splits share patients, whose numbers would then be too good.

    Returns
    -------
    list of str
        A sentence for each pair of splits that does; splits without known patients share none.
    """
    patients = {
        name: {record.patient for record in source.records if record.patient is not None}
        for name, source in sources.items()
    }
    return [
        f"{len(patients[one] & patients[other])} patients have images both in {one} and in {other}: what is measured "
        f"on {other} is too good"
        for one, other in itertools.combinations(patients, 2)
        if patients[one] & patients[other]
    ]
