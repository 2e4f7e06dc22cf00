// A small chart of lines over equal steps from 0 to 1.

import { makeSvg } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [400, 220, 68, 8, 8, 34];
const LOOKS = 8;
const TURN = 3;

// Classes of a line's colour and dash, as svg.py gives them.
export function lookOf(number) {
  return `look${number % LOOKS} dash${(number + TURN * Math.floor(number / LOOKS)) % LOOKS}`;
}

export function swatch(look) {
  return makeSvg("svg", { width: 34, height: 10, "aria-hidden": "true" }, makeSvg("path", { class: `line ${look}`, d: "M1 5H33" }));
}

// Some four round numbers within a range.
function ticks(lowest, highest) {
  const raw = (highest - lowest) / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const [first, last] = [Math.ceil(lowest / step), Math.floor(highest / step)];
  return Array.from({ length: last - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(6)));
}

export function lineChart(lines, description) {
  const values = lines.flatMap((line) => line.y.filter((value) => value !== null));
  const [lowest, highest] = [Math.min(...values), Math.max(...values)];
  const margin = 0.05 * (highest - lowest || 1);
  const span = highest - lowest + 2 * margin;
  const x = (share) => LEFT + share * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + ((highest + margin - value) / span) * (HEIGHT - TOP - BOTTOM);
  const text = (left, top, content, anchor) =>
    makeSvg("text", { x: left.toFixed(1), y: top.toFixed(1), "text-anchor": anchor }, content);
  const parts = ticks(lowest - margin, highest + margin).flatMap((value) => [
    makeSvg("path", { class: value === 0 ? "zero" : "grid", d: `M${LEFT} ${y(value)}H${WIDTH - RIGHT}` }),
    text(LEFT - 4, y(value) + 4, String(value), "end"),
  ]);
  parts.push(text(x(0), HEIGHT - 18, "0 %", "start"), text(x(1), HEIGHT - 18, "100 %", "end"));
  parts.push(text(x(0.5), HEIGHT - 4, "share of patches removed", "middle"));
  const across = `translate(14 ${((TOP + HEIGHT - BOTTOM) / 2).toFixed(0)}) rotate(-90)`;
  parts.push(makeSvg("text", { transform: across, "text-anchor": "middle" }, "output of the model"));
  for (const line of lines) {
    const points = line.y.map((value, i) => (value === null ? null : `${x(i / (line.y.length - 1))},${y(value)}`));
    const shape = { class: `line ${line.look}`, points: points.filter((point) => point !== null).join(" ") };
    parts.push(makeSvg("polyline", shape, makeSvg("title", {}, line.name)));
  }
  return makeSvg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": description }, ...parts);
}
