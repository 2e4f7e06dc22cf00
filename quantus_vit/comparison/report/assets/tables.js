// Tables that can be sorted, filtered and copied as CSV.

import { make } from "./dom.js";
import { foldable } from "./folding.js";

const FILTER_FROM = 9;
const PAUSE = 500;

export function startTables() {
  for (const place of document.querySelectorAll("div.table")) improve(place);
}

function improve(place) {
  const table = place.querySelector("table");
  const count = table.tBodies[0].rows.length;
  const rows = foldable(table);
  const tools = make("div", { class: "tools" });
  if (count >= FILTER_FROM) tools.append(filterOf(rows));
  if (count > 1) makeSortable(table, rows.show);
  tools.append(copyButton(table));
  place.prepend(tools);
  place.append(rows.button);
  rows.show();
}

function filterOf(rows) {
  const input = make("input", { type: "search" });
  const count = make("span", { "aria-live": "polite" });
  let telling = 0;
  input.addEventListener("input", () => {
    const found = rows.filterBy(input.value);
    // Told once the typing rests, so that a screen reader does not read a number after every letter.
    clearTimeout(telling);
    telling = setTimeout(() => {
      count.textContent = found.filtered ? `${found.fitting} of ${found.all} rows` : "";
    }, PAUSE);
  });
  return make("span", {}, make("label", {}, "Filter ", input), " ", count);
}

function makeSortable(table, sorted) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = make("button", { type: "button", class: "sort" }, ...head.childNodes);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sortBy(table, column, down ? -1 : 1);
      sorted();
    });
  });
}

export function valueOf(cell) {
  return cell.dataset.value ?? cell.textContent.trim();
}

function sortBy(table, column, sign) {
  const keyed = [...table.tBodies[0].rows].map((row) => {
    const text = valueOf(row.cells[column]);
    return { row, text, number: Number.parseFloat(text) };
  });
  const numbers = keyed.every(({ text, number }) => !Number.isNaN(number) || text === "nan" || text === "");
  keyed.sort((a, b) => {
    if (!numbers) return sign * a.text.localeCompare(b.text, "en", { numeric: true });
    const missing = Number.isNaN(a.number) - Number.isNaN(b.number);
    return missing || sign * (a.number - b.number);
  });
  table.tBodies[0].append(...keyed.map(({ row }) => row));
}

function copyButton(table) {
  const button = make("button", { type: "button" }, "Copy as CSV");
  button.addEventListener("click", async () => {
    const copied = await copyText(csvOf(table));
    button.textContent = copied ? "Copied" : "The browser does not let this page copy";
    setTimeout(() => { button.textContent = "Copy as CSV"; }, 2000);
  });
  return button;
}

export function csvOf(table) {
  const rows = [table.tHead.rows[0], ...[...table.tBodies[0].rows].filter((row) => !row.hidden)];
  return rows.map((row) => [...row.cells].map((cell) => quoted(valueOf(cell))).join(",")).join("\n") + "\n";
}

// A spreadsheet takes text that begins like a formula for one; an apostrophe makes it text.
function quoted(text) {
  const safe = /^[=+@\t]|^-(?![\d.]|$)/.test(text) ? `'${text}` : text;
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { "aria-hidden": "true", class: "visually-hidden" }, text);
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}
