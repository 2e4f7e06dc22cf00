// The pictures of one case: the X-ray, and the X-ray under the map of each chosen method.

import { formatNumber, make } from "./dom.js";
import { drawOutlines } from "./outlines.js";
import { paintLegend, paintMap, scaleOf } from "./scales.js";

const PICTURE = 448;

export function drawPanels(viewer, shown) {
  const { data, state, one, media } = shown;
  const panels = [xrayPanel(shown)];
  for (const index of state.methods) {
    const method = data.methods[index];
    const name = state.class || one.predictions[method.run]?.target;
    const map = media.maps.find((entry) => entry.method === index && entry.class === name);
    panels.push(map ? mapPanel(shown, method, map) : emptyPanel(shown, method, name));
  }
  viewer.replaceChildren(...panels);
}

function picture(media, alt, paint) {
  const size = { width: PICTURE, height: Math.round((PICTURE * media.h) / media.w) };
  const canvas = make("canvas", { ...size, class: "overlay", role: "img", "aria-label": alt });
  paint(canvas.getContext("2d"), size);
  return make("div", { class: "stack" }, make("img", { src: media.image, alt: "", width: media.w, height: media.h }), canvas);
}

function xrayPanel({ state, one, media }) {
  const names = media.masks.map((mask) => (mask.kind === "box" ? `${mask.name} (box)` : mask.name));
  const masks = state.masks && names.length ? `; outlines: ${names.join(", ")}` : "";
  const stack = picture(media, `X-ray ${state.image}, ${one.label}${masks}`, (context, size) => {
    if (state.masks) drawOutlines(context, media, size);
  });
  const caption = make(
    "figcaption", {},
    make("b", {}, "X-ray"), make("div", {}, `${one.label}${masks}`), make("div", {}, one.path),
  );
  return make("figure", { class: "panel" }, stack, caption);
}

function mapPanel({ state, one, media, palette }, method, map) {
  const scale = scaleOf(map, state.scale, method);
  const stack = picture(media, describe(method, map, scale, palette), (context, size) => {
    const grid = new OffscreenCanvas(map.w, map.h);
    grid.getContext("2d").putImageData(paintMap(map, scale, palette, state.strength / 100, state.top), 0, 0);
    context.imageSmoothingEnabled = true;
    context.drawImage(grid, 0, 0, size.width, size.height);
    if (state.masks) drawOutlines(context, media, size);
  });
  const prediction = one.predictions[method.run];
  const probability = prediction?.probabilities[prediction.names.indexOf(map.class)];
  const chance = probability === undefined ? "" : ` (probability ${probability.toFixed(3)})`;
  const caption = make(
    "figcaption", {},
    make("b", {}, method.label), make("div", {}, `for ${map.class}${chance}`), legend(scale, palette),
  );
  return make("figure", { class: "panel" }, stack, caption);
}

function legend(scale, palette) {
  const bar = make("canvas", { width: 256, height: 10, class: "colour-bar", "aria-hidden": "true" });
  paintLegend(bar, scale, palette);
  const ends = scale.signed ? [-scale.end, 0, scale.end] : [0, scale.end / 2, scale.end];
  const signs = scale.signed ? ` Speaking for the class: ${palette.positive}; against it: ${palette.negative}.` : "";
  return make(
    "div", { class: "legend-of-map" }, bar,
    make("div", { class: "ends", "aria-hidden": "true" }, ...ends.map((value) => make("span", {}, formatNumber(value)))),
    make("small", {}, `${scale.words}.${signs}`),
  );
}

function emptyPanel({ media, state }, method, name) {
  const words = name ? `no map for ${name} was stored` : "no map was stored";
  const stack = picture(media, `${method.label}: ${words}`, (context, size) => {
    if (state.masks) drawOutlines(context, media, size);
  });
  const caption = make("figcaption", {}, make("b", {}, method.label), make("div", { class: "missing" }, words));
  return make("figure", { class: "panel" }, stack, caption);
}

// For who cannot see the map: where most of its strongest hundredth lies, and the signs that it has.
function describe(method, map, scale, palette) {
  const order = Array.from(map.values.keys()).sort((a, b) => Math.abs(map.values[b]) - Math.abs(map.values[a]));
  const strongest = order.slice(0, Math.max(1, Math.round(order.length / 100)));
  const counts = new Map();
  for (const index of strongest) {
    const place = placeOf(Math.floor(index / map.w) / map.h, (index % map.w) / map.w);
    counts.set(place, (counts.get(place) ?? 0) + 1);
  }
  const places = [...counts].filter(([, count]) => count >= strongest.length / 4).sort((a, b) => b[1] - a[1]);
  const where = places.length ? `strongest in the ${places.map(([place]) => place).join(" and the ")} of the picture` : "strong in many places";
  const signs = map.signed ? `; ${palette.negative} where it speaks against the class` : "";
  return `${method.label} for ${map.class}: ${where}; full scale ${formatNumber(scale.end)}${signs}`;
}

// Which ninth of the picture, by shares of its height and width.
function placeOf(down, across) {
  const row = ["upper", "middle", "lower"][Math.floor(3 * down)];
  const column = ["left", "centre", "right"][Math.floor(3 * across)];
  return row === "middle" && column === "centre" ? "centre" : `${row} ${column}`;
}
