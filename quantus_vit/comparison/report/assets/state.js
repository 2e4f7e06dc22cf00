// What the explorer shows, and the same as the part of the page's address behind "#": a link that survives a reload.

export const DEFAULTS = {
  image: 1, methods: [], class: "", scale: "own", palette: 0, strength: 80, top: 100, masks: true,
};
const SCALES = ["own", "shared", "signed"];

// Places without the folders that all of them begin with.
export function withoutCommonFolders(paths) {
  const parts = paths.map((path) => path.split("/"));
  const depth = Math.min(...parts.map((names) => names.length)) - 1;
  let common = 0;
  while (common < depth && parts.every((names) => names[common] === parts[0][common])) common += 1;
  return parts.map((names) => names.slice(common).join("/"));
}

function whole(text, least, most, otherwise) {
  const value = Number(text);
  return text !== null && Number.isInteger(value) && value >= least && value <= most ? value : otherwise;
}

export function isExplorerHash(hash) {
  return new URLSearchParams(hash.slice(1)).has("image");
}

export function parseHash(hash, data, start) {
  const given = new URLSearchParams(hash.slice(1));
  const labels = data.methods.map((method) => method.label);
  const named = given.getAll("method").map((label) => labels.indexOf(label)).filter((index) => index >= 0);
  return {
    ...start,
    image: whole(given.get("image"), 1, data.cases.length, start.image),
    methods: named.length ? named : start.methods,
    class: data.classes.includes(given.get("class")) ? given.get("class") : "",
    scale: SCALES.includes(given.get("scale")) ? given.get("scale") : start.scale,
    palette: whole(given.get("colours"), 0, data.palettes.length - 1, start.palette),
    strength: whole(given.get("strength"), 0, 100, start.strength),
    top: whole(given.get("top"), 1, 100, start.top),
    masks: given.has("masks") ? given.get("masks") !== "0" : start.masks,
  };
}

export function formatHash(state, data) {
  const entries = [["image", state.image], ...state.methods.map((index) => ["method", data.methods[index].label])];
  if (state.class) entries.push(["class", state.class]);
  if (state.scale !== DEFAULTS.scale) entries.push(["scale", state.scale]);
  if (state.palette !== DEFAULTS.palette) entries.push(["colours", state.palette]);
  if (state.strength !== DEFAULTS.strength) entries.push(["strength", state.strength]);
  if (state.top !== DEFAULTS.top) entries.push(["top", state.top]);
  if (!state.masks) entries.push(["masks", 0]);
  return `#${entries.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}`;
}
