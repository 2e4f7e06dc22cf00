// One method's line in front of the others in all charts of removal curves.

import { byId, fillSelect, make } from "./dom.js";

export function startCurves() {
  const place = byId("curves-choice");
  const groups = [...document.querySelectorAll("#curves g[data-line]")];
  const names = [...new Set(groups.map((group) => group.dataset.line))];
  if (place === null || names.length < 2) return;
  const select = make("select");
  fillSelect(select, [["", "all alike"], ...names.map((name) => [name, name])]);
  select.addEventListener("change", () => {
    for (const group of groups) group.classList.toggle("faint", select.value !== "" && group.dataset.line !== select.value);
    for (const group of groups) if (group.dataset.line === select.value) group.parentNode.append(group);
  });
  place.append(make("label", {}, "In front ", select));
}
