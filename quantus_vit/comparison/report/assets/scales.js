// How a number of a map becomes a colour. A map with a negative value is always shown around 0, so no sign is lost.

import { bytesOf } from "./codec.js";

export function unpackPalette(packed) {
  return { ...packed, sequential: bytesOf(packed.sequential), diverging: bytesOf(packed.diverging) };
}

export function scaleOf(map, choice, method) {
  const shared = choice === "shared";
  const signed = choice === "signed" || map.signed || (shared && method.signed);
  const end = (shared ? method.shared : map.full) || 1;
  const words = shared ? "one scale for all images of this method" : "this map's own scale";
  const middle = signed ? ", 0 in the middle" : "";
  return { signed, end, words: `${words}${middle}; 99.5 % of the values lie within` };
}

function colourIndex(value, scale) {
  const share = Math.max(-1, Math.min(1, value / scale.end));
  return Math.round(scale.signed ? (share + 1) * 127.5 : Math.max(0, share) * 255);
}

// The absolute value that the strongest `percent` of a map reach.
export function thresholdOf(map, percent) {
  if (percent >= 100) return 0;
  const sizes = Float32Array.from(map.values, Math.abs).sort();
  const kept = Math.max(1, Math.round((sizes.length * percent) / 100));
  return sizes[sizes.length - kept];
}

export function paintMap(map, scale, palette, strength, percent) {
  const table = scale.signed ? palette.diverging : palette.sequential;
  const least = thresholdOf(map, percent);
  const picture = new ImageData(map.w, map.h);
  for (let i = 0; i < map.values.length; i += 1) {
    const value = map.values[i];
    if (Math.abs(value) < least) continue;
    const place = 4 * colourIndex(value, scale);
    picture.data.set(table.subarray(place, place + 4), 4 * i);
    picture.data[4 * i + 3] *= strength;
  }
  return picture;
}

export function paintLegend(canvas, scale, palette) {
  const table = scale.signed ? palette.diverging : palette.sequential;
  const context = canvas.getContext("2d");
  context.fillStyle = "#595959";
  context.fillRect(0, 0, canvas.width, canvas.height);
  for (let x = 0; x < canvas.width; x += 1) {
    const place = 4 * Math.round((x / (canvas.width - 1)) * 255);
    const [red, green, blue, alpha] = table.subarray(place, place + 4);
    context.fillStyle = `rgba(${red}, ${green}, ${blue}, ${alpha / 255})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}
