// The explorer: controls, keys and the page's address on one side, pictures and details on the other.

import { byId, fillSelect, make } from "./dom.js";
import { chosenCases } from "./filters.js";
import { drawDetails } from "./details.js";
import { drawPanels } from "./viewer.js";
import { mediaLoader } from "./loading.js";
import { unpackPalette } from "./scales.js";
import { DEFAULTS, formatHash, isExplorerHash, parseHash, withoutCommonFolders } from "./state.js";

const FIRST_METHODS = 3;

export function startExplorer() {
  const block = byId("explorer-data");
  if (block === null) return;
  const data = JSON.parse(block.textContent);
  const explorer = makeExplorer(data);
  byId("explorer-controls").hidden = false;
  explorer.listen();
  explorer.follow(location.hash);
}

function startingMethods(data) {
  const numbers = data.methods.map((_, index) => index);
  const methods = numbers.filter((index) => data.methods[index].role !== "control");
  return (methods.length ? methods : numbers).slice(0, FIRST_METHODS);
}

function makeExplorer(data) {
  const palettes = data.palettes.map(unpackPalette);
  const load = mediaLoader(data.folder);
  const start = { ...DEFAULTS, methods: startingMethods(data) };
  const viewer = byId("viewer");
  const shortNames = withoutCommonFolders(data.cases.map((one) => one.path));
  let state = start;
  let numbers = [];
  let told = "";

  function filters() {
    return {
      finding: byId("filter-finding").value,
      prediction: byId("filter-prediction").value,
      order: byId("order").value,
      metric: Number(byId("order-metric").value),
      method: Number(byId("order-method").value),
    };
  }

  function showCases() {
    numbers = chosenCases(data, filters());
    const names = numbers.map((number) => [number, `${number}: ${data.cases[number - 1].label}, ${shortNames[number - 1]}`]);
    fillSelect(byId("image"), names);
    const byScore = ["worst", "best"].includes(byId("order").value);
    byId("order-metric").disabled = !byScore;
    byId("order-method").disabled = !byScore;
  }

  function showControls() {
    byId("image").value = state.image;
    byId("class").value = state.class;
    byId("scale").value = state.scale;
    byId("palette").value = state.palette;
    showSlider("strength", state.strength, `${state.strength} %`);
    showSlider("top", state.top, state.top === 100 ? "all" : `${state.top} %`);
    byId("masks").checked = state.masks;
    for (const box of byId("methods").querySelectorAll("input")) box.checked = state.methods.includes(Number(box.value));
    const place = numbers.indexOf(state.image);
    byId("image-count").textContent = place < 0 ? `image ${state.image} of ${data.cases.length}` : `${place + 1} of ${numbers.length}`;
    // A disabled button would lose the focus of who has just reached the end by it.
    byId("previous").setAttribute("aria-disabled", place <= 0);
    byId("next").setAttribute("aria-disabled", place < 0 ? !numbers.length : place === numbers.length - 1);
  }

  function showSlider(name, value, words) {
    byId(name).value = value;
    byId(name).setAttribute("aria-valuetext", words);
    byId(`${name}-value`).textContent = words;
  }

  async function draw() {
    showControls();
    const drawn = state;
    const one = data.cases[state.image - 1];
    try {
      const media = await load(state.image);
      if (drawn !== state) return;
      const shown = { data, state, one, media, palette: palettes[state.palette] };
      drawPanels(viewer, shown);
      drawDetails(byId("image-details"), shown);
      viewer.dataset.shown = state.image;
      announce(one);
    } catch (error) {
      viewer.replaceChildren(make("p", { class: "warning" }, error.message));
    }
  }

  function announce(one) {
    const prediction = one.predictions.find((entry) => entry !== null);
    const verdict = prediction ? `, predicted ${prediction.predicted}` : "";
    const words = `Image ${state.image}: ${one.label}${verdict}`;
    if (told && words !== told) say(words); // the first is no news
    told = words;
  }

  function say(words) {
    byId("announcement").textContent = words;
  }

  function change(changes) {
    state = { ...state, ...changes };
    history.replaceState(null, "", formatHash(state, data));
    draw();
  }

  function step(by) {
    const place = numbers.indexOf(state.image);
    const next = numbers[place < 0 ? 0 : Math.max(0, Math.min(numbers.length - 1, place + by))];
    if (next !== undefined && next !== state.image) change({ image: next });
  }

  function filterAgain() {
    showCases();
    if (!numbers.length) {
      viewer.replaceChildren(make("p", { class: "warning" }, "No image fits these filters."));
      byId("image-details").replaceChildren();
      byId("image-count").textContent = "0 images";
      byId("previous").setAttribute("aria-disabled", true);
      byId("next").setAttribute("aria-disabled", true);
      return;
    }
    change({ image: byId("order").value === "sample" && numbers.includes(state.image) ? state.image : numbers[0] });
  }

  function alone(on) {
    viewer.classList.toggle("alone", on);
    byId("alone").setAttribute("aria-pressed", String(on));
  }

  function fillControls() {
    const findings = [...new Set(data.cases.map((one) => one.label))];
    fillSelect(byId("filter-finding"), [["", "all"], ...findings.map((name) => [name, name])]);
    fillSelect(byId("order-metric"), data.metrics.map((metric, index) => [index, metric.row]));
    fillSelect(byId("order-method"), data.methods.map((method, index) => [index, method.label]));
    fillSelect(byId("class"), [["", "as scored"], ...data.classes.map((name) => [name, name])]);
    fillSelect(byId("palette"), palettes.map((palette, index) => [index, palette.name]));
    const boxes = data.methods.map((method, index) =>
      make("label", { class: "check", title: method.summary }, make("input", { type: "checkbox", value: index }),
        ` ${method.label}${method.role === "control" ? " (control)" : ""}`));
    byId("methods").replaceChildren(...boxes);
  }

  function listenToControls() {
    for (const id of ["filter-finding", "filter-prediction", "order", "order-metric", "order-method"]) {
      byId(id).addEventListener("change", filterAgain);
    }
    byId("image").addEventListener("change", (event) => change({ image: Number(event.target.value) }));
    byId("previous").addEventListener("click", () => step(-1));
    byId("next").addEventListener("click", () => step(1));
    byId("methods").addEventListener("change", () => {
      const boxes = [...byId("methods").querySelectorAll("input:checked")];
      change({ methods: boxes.map((box) => Number(box.value)) });
    });
    byId("class").addEventListener("change", (event) => change({ class: event.target.value }));
    byId("scale").addEventListener("change", (event) => change({ scale: event.target.value }));
    byId("palette").addEventListener("change", (event) => change({ palette: Number(event.target.value) }));
    byId("strength").addEventListener("input", (event) => change({ strength: Number(event.target.value) }));
    byId("top").addEventListener("input", (event) => change({ top: Number(event.target.value) }));
    byId("masks").addEventListener("change", (event) => change({ masks: event.target.checked }));
    byId("alone").addEventListener("click", () => alone(!viewer.classList.contains("alone")));
    byId("explorer-controls").addEventListener("submit", (event) => event.preventDefault());
  }

  function changeAndSay(changes) {
    change(changes);
    say("masks" in changes ? `masks and boxes ${state.masks ? "on" : "off"}` : `overlay strength ${state.strength} %`);
  }

  const keys = {
    ArrowRight: () => step(1),
    ArrowLeft: () => step(-1),
    Home: () => step(-numbers.length),
    End: () => step(numbers.length),
    m: () => changeAndSay({ masks: !state.masks }),
    "+": () => changeAndSay({ strength: Math.min(100, state.strength + 10) }),
    "-": () => changeAndSay({ strength: Math.max(0, state.strength - 10) }),
    " ": () => alone(true),
  };

  function listenToKeys() {
    viewer.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (act === undefined) return;
      event.preventDefault();
      act();
    });
    viewer.addEventListener("keyup", (event) => event.key === " " && alone(false));
    viewer.addEventListener("blur", () => alone(false));
    window.addEventListener("hashchange", () => isExplorerHash(location.hash) && follow(location.hash));
  }

  function follow(hash) {
    state = parseHash(hash, data, start);
    draw();
    if (isExplorerHash(hash)) byId("explorer").scrollIntoView();
  }

  function listen() {
    fillControls();
    showCases();
    listenToControls();
    listenToKeys();
  }

  return { listen, follow };
}
