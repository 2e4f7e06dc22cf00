// Pictures, masks and maps of a case: from a block of the page, or from a script beside it, and unpacked once.

import { byId } from "./dom.js";
import { decodeMap, decodeMask } from "./codec.js";

const KEPT = 12;

export function mediaLoader(folder) {
  const known = new Map();
  const waiting = new Map();
  window.quantusVitMedia = (number, media) => waiting.get(number)?.(media);

  function fromScript(number) {
    return new Promise((resolve, reject) => {
      waiting.set(number, resolve);
      const script = document.createElement("script");
      script.src = `${folder}/${number}.js`;
      script.onerror = () => reject(new Error(`${folder}/${number}.js cannot be read; it belongs beside this page`));
      script.onload = () => script.remove();
      document.head.append(script);
    });
  }

  async function load(number) {
    const packed = folder === null ? JSON.parse(byId(`media-${number}`).textContent) : await fromScript(number);
    const maps = await Promise.all(packed.maps.map(decodeMap));
    const masks = await Promise.all(packed.masks.map((mask) => decodeMask(mask, packed.h, packed.w)));
    return { ...packed, maps, masks };
  }

  return (number) => {
    if (!known.has(number)) {
      known.set(number, load(number));
      if (known.size > KEPT) known.delete(known.keys().next().value);
    }
    return known.get(number);
  };
}
