"""What a study of confounders says in words. Knows its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .measure import CLEAN, ConfounderRow, RelianceRow
from .study import ConfounderTables

__all__ = ["confounder_findings"]

RELIES = 0.1
"""A model is said to rely on an artefact where the interval of the rise in probability lies above this."""


def confounder_findings(tables: ConfounderTables) -> list[str]:
    """Sentences on which models rely on their artefact, which methods show it, and which accuse a clean model."""
    sentences = []
    for model in tables.models:
        rows = [row for row in tables.rows if (row.artefact, row.percent) == (model.artefact, model.percent)]
        sentences.append(_of_model(model))
        if model.percent != CLEAN:
            sentences += _shown(model, rows)
        else:
            sentences += _accusers(rows)
    return sentences


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _of_model(model: RelianceRow) -> str:
    relies = "relies on it" if _relies(model) else "is not seen to rely on it"
    turned = ""
    if not math.isnan(model.flipped_low):
        turned = f" ({_percent(model.flipped_low)} to {_percent(model.flipped_high)})"
    return (
        f"{model.artefact} on {model.percent:g} % of its class: the model {relies}; on {model.n} films of other "
        f"classes it changes the class's probability by {model.reliance:.2f} ({model.ci_low:.2f} to "
        f"{model.ci_high:.2f}) and turns {_percent(model.flipped)} of them{turned}."
    )


def _shown(model: RelianceRow, rows: Sequence[ConfounderRow]) -> list[str]:
    """Which methods tell the model from the clean one."""
    judged = [row for row in rows if row.auc == row.auc]
    if not judged:
        return [f"{model.artefact} at {model.percent:g} %: there is no clean model to compare with."]
    told = sorted((row for row in judged if row.auc_low > 0.5), key=lambda row: -row.auc)
    rest = [row for row in judged if row not in told]
    words = []
    if told:
        listed = ", ".join(f"{row.method} (AUC {row.auc:.2f}, covers {_percent(row.coverage)})" for row in told)
        words.append(f"covered more of the artefact than on the clean model by {listed}")
    if rest:
        listed = ", ".join(f"{row.method} ({row.auc:.2f})" for row in rest)
        words.append(f"not told from the clean model by {listed}")
    text = f"{model.artefact} at {model.percent:g} %: {'; '.join(words)}."
    if not _relies(model):
        text += " Since the model is not seen to rely on it, this says nothing for or against a method."
    return [text]


def _relies(model: RelianceRow) -> bool:
    return model.ci_low > RELIES


def _accusers(rows: Sequence[ConfounderRow]) -> list[str]:
    """Which methods accuse the clean model."""
    accusing = sorted((row for row in rows if row.accused > 0), key=lambda row: -row.accused)
    if not accusing:
        return [f"No method accuses the artefact falsely on the clean model ({rows[0].n} films)."] if rows else []
    listed = ", ".join(
        f"{row.method} {_percent(row.accused)} ({_percent(row.accused_low)} to {_percent(row.accused_high)})"
        for row in accusing
    )
    return [f"{rows[0].artefact}, false accusations of the clean model: {listed}; the other methods none."]
