"""The table of docs/models.md, from the tested families: run ``cd tests && python -m attribution.model_table``."""

from __future__ import annotations

from pathlib import Path

from .families import FAMILIES

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- table: written by tests/attribution/model_table.py -->", "<!-- end of table -->"


def table() -> str:
    """Method by family, in Markdown."""
    rows = [
        "| Model | AttnLRP | TransformerLRP, GenericAttention, AttentionRollout | not square |",
        "|---|---|---|---|",
    ]
    for family in FAMILIES:
        rollout = f"refused: {family.rollout}" if family.refuses else f"row of the {family.rollout}"
        rows.append(f"| {family.label} | yes | {rollout} | {'tested' if family.oblong else ''} |")
    return "\n".join(rows)


def main() -> None:
    """Write the table into the document."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")


if __name__ == "__main__":
    main()
