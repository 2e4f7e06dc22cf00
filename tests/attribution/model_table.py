"""The table of docs/models.md, from the tested families: run ``cd tests && python -m attribution.model_table``."""

from __future__ import annotations

from pathlib import Path

from .families import FAMILIES
from .served import REASONS, refusals
from .wider_families import WIDER

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- table: written by tests/attribution/model_table.py -->", "<!-- end of table -->"

COLUMNS = {
    "LibraGrad": "LibraGrad",
    "LeGrad": "LeGrad",
    "TokenTM": "TokenTM",
    "BeyondIntuition": "BeyondIntuition",
    "PositionalLRP": "PositionalLRP",
    "TokenRemoval": "TokenOcclusion, TokenShapley",
}


def table() -> str:
    """Method by family, in Markdown."""
    reasons = list(REASONS.values())
    rows = [
        "| Model | AttnLRP | TransformerLRP, GenericAttention, AttentionRollout | "
        + " | ".join(COLUMNS.values())
        + " | not square |",
        "|" + "---|" * (4 + len(COLUMNS)),
    ]
    for family in (*FAMILIES, *WIDER):
        refused = refusals(family.name)
        numbers = {method: f"no ({reasons.index(reason) + 1})" for method, reason in refused.items()}
        if family.refuses:
            rollout = f"refused: {family.rollout}"
        else:
            rollout = numbers.get("rollout", f"row of the {family.rollout}")
        cells = [family.label, "yes", rollout, *(numbers.get(method, "yes") for method in COLUMNS)]
        rows.append(f"| {' | '.join(cells)} | {'tested' if family.oblong else ''} |")
    notes = [f"({number}) {reason.words}" for number, reason in enumerate(reasons, 1)]
    return "\n".join([*rows, "", "no: " + "; ".join(notes) + "."])


def main() -> None:
    """Write the table into the document."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")


if __name__ == "__main__":
    main()
