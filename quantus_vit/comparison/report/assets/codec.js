// Undoes the packing of grids.py: base64, deflate, differences along rows, and the root of the values.

export function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function inflate(base64) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser is too old to unpack maps: it has no DecompressionStream");
  }
  const stream = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export async function decodeMap(packed) {
  const steps = await inflate(packed.data);
  const values = new Float32Array(packed.h * packed.w);
  for (let row = 0; row < packed.h; row += 1) {
    let code = 0;
    for (let column = 0; column < packed.w; column += 1) {
      const place = row * packed.w + column;
      code = ((code + steps[place] + 128) & 255) - 128;
      values[place] = Math.sign(code) * (code / 127) ** 2 * packed.max;
    }
  }
  return { ...packed, values };
}

export async function decodeMask(packed, height, width) {
  const bytes = await inflate(packed.data);
  const inside = new Uint8Array(height * width);
  for (let i = 0; i < inside.length; i += 1) inside[i] = (bytes[i >> 3] >> (7 - (i & 7))) & 1;
  return { ...packed, inside };
}
