// Which rows of a table stand on the page: those that fit its filter, of a long table the first until all are asked for.

import { make } from "./dom.js";

const NARROW = window.matchMedia("(max-width: 40rem)").matches;
const FIRST = NARROW ? 10 : 20;
const TOLERATED = 5;

function matches(row, words) {
  const text = row.textContent.toLowerCase();
  return words.every((word) => text.includes(word));
}

// The rows' order is that of the table; call `show` again once it has changed.
export function foldable(table) {
  let words = [];
  let all = false;
  const button = make("button", { type: "button", class: "more", hidden: true });

  function show() {
    const rows = [...table.tBodies[0].rows];
    const fitting = rows.filter((row) => matches(row, words));
    const long = fitting.length > FIRST + TOLERATED;
    for (const row of rows) row.hidden = true;
    fitting.forEach((row, place) => {
      row.hidden = false;
      row.classList.toggle("folded", long && !all && place >= FIRST);
    });
    button.hidden = !long;
    button.textContent = all ? `Show the first ${FIRST} rows alone` : `Show all ${fitting.length} rows`;
    return { fitting: fitting.length, all: rows.length };
  }

  function filterBy(text) {
    words = text.toLowerCase().split(/\s+/).filter(Boolean);
    return { ...show(), filtered: words.length > 0 };
  }

  button.addEventListener("click", () => {
    const first = table.querySelector("tr.folded");
    all = !all;
    show();
    if (first === null) {
      button.scrollIntoView({ block: "nearest" });
    } else {
      // Who goes by keys or listens goes on where the new rows begin.
      first.tabIndex = -1;
      first.focus({ preventScroll: true });
    }
  });
  return { button, show, filterBy };
}
