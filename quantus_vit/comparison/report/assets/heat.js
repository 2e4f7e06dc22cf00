// The heat map as one stop of the Tab key: arrow keys go from cell to cell, and a line below tells the
// cell's interval. It stays a table, whose cells screen readers read by themselves; of a grid's Orca 43 reads none.

import { byId } from "./dom.js";

const MOVES = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };

export function startHeatMap() {
  const table = document.querySelector("table.heat");
  if (table === null) return;
  const rows = [...table.tBodies[0].rows].map((row) => [...row.querySelectorAll("td")]);
  const readout = byId("heat-readout");
  const tell = (cell) => { readout.textContent = cell.dataset.readout; };
  let current = rows[0][0];
  current.tabIndex = 0;
  for (const cell of rows.flat()) cell.removeAttribute("title");

  function moveTo(cell) {
    current.removeAttribute("tabindex"); // a screen reader leaves cells that take the focus out when it reads on
    current = cell;
    current.tabIndex = 0;
    current.focus();
  }

  for (const cell of rows.flat()) {
    cell.addEventListener("pointerenter", () => tell(cell));
    cell.addEventListener("focus", () => tell(cell));
    cell.addEventListener("click", () => moveTo(cell));
  }
  table.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (move === undefined) return;
    event.preventDefault();
    const row = rows.findIndex((cells) => cells.includes(current));
    const column = rows[row].indexOf(current);
    moveTo(rows[row + move[0]]?.[column + move[1]] ?? current);
  });
}
