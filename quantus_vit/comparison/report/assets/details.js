// Below the pictures: the prediction, the image's scores under each metric, and its removal curves.

import { breakable, formatNumber, make } from "./dom.js";
import { lineChart, lookOf, swatch } from "./charts.js";

const ORDERS = { mif: "most relevant first", lif: "least relevant first" };

export function drawDetails(place, shown) {
  const parts = [predictionsOf(shown), scoresOf(shown), ...curvesOf(shown)];
  place.replaceChildren(...parts.filter((part) => part !== null));
}

function scrolling(name, table) {
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, table);
}

function predictionsOf({ data, one }) {
  const tables = one.predictions.map((prediction, run) => {
    if (prediction === null) return null;
    const verdict = prediction.correct ? "right" : "wrong";
    const which = data.runs.length > 1 ? `${data.runs[run]}: ` : "";
    const rows = prediction.names.map((name, index) => {
      const value = prediction.probabilities[index];
      const bar = make("meter", { min: 0, max: 1, value, "aria-hidden": "true" });
      return make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "number" }, `${value.toFixed(3)} `, bar));
    });
    const caption = make("caption", {}, `${which}predicted ${prediction.predicted}, which is ${verdict}`);
    const head = make("tr", {}, ...["class", "probability"].map((text) => make("th", { scope: "col" }, text)));
    return make("table", {}, caption, make("thead", {}, head), make("tbody", {}, ...rows));
  });
  const known = tables.filter((table) => table !== null);
  return known.length ? make("div", { class: "detail" }, make("h3", {}, "Prediction"), ...known) : null;
}

function scoresOf({ data, state, one }) {
  if (!state.methods.length || !data.metrics.length) return null;
  const rows = data.metrics.map((metric, index) => {
    const cells = state.methods.map((method) => scoreCell(data, one, method, index));
    const direction = metric.higher ? "higher is better" : "lower is better";
    return make("tr", {}, make("th", { scope: "row" }, ...breakable(metric.row), make("small", {}, ` ${direction}`)), ...cells);
  });
  const names = ["metric", ...state.methods.map((method) => data.methods[method].label)];
  const head = make("tr", {}, ...names.map((text) => make("th", { scope: "col" }, ...breakable(text))));
  const words = `Scores of this image, and the place among all ${data.methods.length} methods`;
  const table = make("table", { "aria-label": words }, make("thead", {}, head), make("tbody", {}, ...rows));
  const told = make("p", { class: "small" }, `${words}.`);
  return make("div", { class: "detail" }, make("h3", {}, "Scores"), told, scrolling("Scores of this image", table));
}

function scoreCell(data, one, method, metric) {
  const score = one.scores[method][metric];
  if (score === null) return make("td", { class: "number" }, "-");
  const sign = data.metrics[metric].higher ? 1 : -1;
  const better = one.scores.filter((row) => row[metric] !== null && sign * row[metric] > sign * score).length;
  return make("td", { class: "number" }, `${formatNumber(score)} (place ${better + 1})`);
}

function curvesOf({ data, state, one }) {
  const kinds = new Map();
  for (const curve of one.curves) {
    if (!state.methods.includes(curve.method)) continue;
    const key = JSON.stringify([curve.metric, curve.order]);
    kinds.set(key, [...(kinds.get(key) ?? []), curve]);
  }
  if (!kinds.size) return [];
  const charts = [...kinds].map(([key, curves]) => {
    const [metric, order] = JSON.parse(key);
    const title = `${metric}, ${ORDERS[order] ?? order}`;
    const lines = curves.map((curve) => ({ name: data.methods[curve.method].label, y: curve.y, look: look(state, curve.method) }));
    return make("figure", {}, make("figcaption", {}, title), lineChart(lines, inWords(lines)));
  });
  const entries = state.methods.map((method) =>
    make("li", {}, swatch(look(state, method)), ` ${data.methods[method].label}`));
  const key = make("ul", { class: "legend" }, ...entries);
  return [make("div", { class: "detail whole" }, make("h3", {}, "Removal curves"), key, make("div", { class: "charts" }, ...charts))];
}

// For who cannot see a chart: where each line begins, is halfway, and ends.
function inWords(lines) {
  const told = lines.map(({ name, y }) => {
    const [first, half, last] = [0, Math.floor((y.length - 1) / 2), y.length - 1].map((at) => formatNumber(y[at]));
    return `${name} from ${first} over ${half} halfway to ${last}`;
  });
  return `Output of the model: ${told.join("; ")}`;
}

function look(state, method) {
  return lookOf(state.methods.indexOf(method));
}
