// Elements made from names, attributes and children; text is always text, never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function makeSvg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

export function byId(id) {
  return document.getElementById(id);
}

export function fillSelect(select, entries) {
  select.replaceChildren(...entries.map(([value, text]) => make("option", { value }, text)));
}

// A name in parts between which a line may end: FaithfulnessEstimate[baseline=black].
export function breakable(name) {
  const parts = name.split(/(?<=[a-z])(?=[A-Z])|(?<=\w)(?=\[)|(?<==)|(?<=,)(?!\s)/);
  return parts.flatMap((part, index) => (index ? [make("wbr"), part] : [part]));
}

export function formatNumber(value) {
  if (value === null || Number.isNaN(value)) return "-";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size < 0.001 || size >= 10000 ? value.toExponential(1) : value.toPrecision(3);
}
