// Borders of masks on a canvas: lungs dashed white, all others light blue, each over a dark line to be seen on bone.

const DARK = "rgba(0, 0, 0, 0.75)";
const LUNG = "#ffffff";
const LESION = "#56e0ff";

const DASH = 5;

function borderOf(mask, height, width, size, dashed) {
  const path = new Path2D();
  const [sx, sy] = [size.width / width, size.height / height];
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask.inside[y * width + x] === 1;
  for (let y = 0; y <= height; y += 1) {
    for (let x = 0; x <= width; x += 1) {
      if (dashed && Math.floor((x + y) / DASH) % 2) continue;
      if (inside(x, y) !== inside(x, y - 1)) {
        path.moveTo(x * sx, y * sy);
        path.lineTo((x + 1) * sx, y * sy);
      }
      if (inside(x, y) !== inside(x - 1, y)) {
        path.moveTo(x * sx, y * sy);
        path.lineTo(x * sx, (y + 1) * sy);
      }
    }
  }
  return path;
}

export function drawOutlines(context, media, size) {
  for (const mask of media.masks) {
    const lung = mask.name.toLowerCase() === "lung";
    const path = borderOf(mask, media.h, media.w, size, lung);
    context.lineCap = "square";
    for (const [colour, width] of [[DARK, 3.5], [lung ? LUNG : LESION, 1.8]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke(path);
    }
  }
}
