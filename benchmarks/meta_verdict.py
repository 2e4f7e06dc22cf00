"""Ship the verdict on the metrics: the counts of a run of the protocol ``meta`` become ``assets/meta_evaluation.json``.

    quantus-vit compare --protocol meta --threads 1 --out RUN
    python benchmarks/meta_verdict.py RUN [RUN ...]

Metrics that several runs have judged are taken from the last of them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import quantus_vit.assets
from quantus_vit.comparison.meta_evaluation import MetaRow
from quantus_vit.comparison.meta_shipped import verdict_of
from quantus_vit.comparison.protocol import load_config
from quantus_vit.comparison.report.row_files import read_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    runs = parser.parse_args().runs
    rows = {(row.metric, row.control): row for run in runs for row in read_rows(run / "meta_evaluation.csv", MetaRow)}
    verdict = verdict_of(load_config(runs[0] / "config.json"), list(rows.values()))
    head = json.dumps({name: value for name, value in verdict.items() if name != "rows"}, indent=1)[:-2]
    lines = ",\n".join(f"  {json.dumps(row)}" for row in verdict["rows"])
    path = Path(quantus_vit.assets.__file__).with_name("meta_evaluation.json")
    path.write_text(f'{head},\n "rows": [\n{lines}\n ]\n}}\n', encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
