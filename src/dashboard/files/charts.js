// Charts of what comes in steps: stacked areas, with gaps where nobody counted. The values stand in words beside them,
// and the arrow keys walk through the steps.

import { fill, h, s } from "./dom.js";
import { clock, stamp } from "./time.js";

const LEFT = 44, BOTTOM = 18, TOP = 6;

const short = (value) =>
  value >= 1e6 ? `${+(value / 1e6).toFixed(1)}M` : value >= 1e3 ? `${+(value / 1e3).toFixed(1)}k` : String(+value.toFixed(value < 10 ? 2 : 0));

// The next round number.
function ceiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999) ?? value;
}

// `series`: [{key, label}]; `value(point, key)`: its value, in `unit`.
export function chart(title, series, value, unit, kind = "") {
  const picture = s("svg", { role: "img", tabindex: 0 });
  const keys = h("figcaption");
  const readout = h("div", { class: "readout", "aria-live": "polite" });
  const figure = h("figure", { class: `chart ${kind}` }, keys, picture, readout);
  let data = null, at = null, WIDTH = 800, HEIGHT = 180;

  const x = (time) => LEFT + ((time - data.from) / (data.to - data.from)) * (WIDTH - LEFT);
  const total = (point) => series.reduce((sum, { key }) => sum + value(point, key), 0);

  function draw() {
    const { points, step, from, to } = data;
    // One unit is one pixel, so that the words are not drawn out of shape.
    WIDTH = picture.clientWidth || WIDTH;
    HEIGHT = picture.clientHeight || HEIGHT;
    picture.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    const top = ceiling(Math.max(0, ...points.map(total)));
    const y = (amount) => HEIGHT - BOTTOM - (amount / top) * (HEIGHT - BOTTOM - TOP);
    const runs = [];
    for (const point of points) {
      const run = runs.at(-1);
      if (run && point.at - run.at(-1).at <= step * 1.5) run.push(point);
      else runs.push([point]);
    }
    const areas = [];
    for (const run of runs) {
      let below = run.map(() => 0);
      for (const { key } of series) {
        const above = run.map((point, index) => below[index] + value(point, key));
        const line = (heights, list) => list.map((index) => `${x(Math.max(run[index].at, from)).toFixed(1)},${y(heights[index]).toFixed(1)} ${x(Math.min(run[index].at + step, to)).toFixed(1)},${y(heights[index]).toFixed(1)}`);
        const indexes = run.map((_, index) => index);
        const back = line(below, indexes).flatMap((pair) => pair.split(" ")).reverse();
        if (above.some((height, index) => height > below[index])) {
          areas.push(s("polygon", { class: `f-${key}`, points: [...line(above, indexes), ...back].join(" ") }));
        }
        below = above;
      }
    }
    const axes = [0, 0.5, 1].map((part) => [
      s("line", { class: "axis", x1: LEFT, x2: WIDTH, y1: y(top * part), y2: y(top * part) }),
      s("text", { x: LEFT - 6, y: y(top * part) + 4, "text-anchor": "end" }, short(top * part)),
    ]);
    const times = [0, 0.25, 0.5, 0.75, 1].map((part) => {
      const date = new Date(from + (to - from) * part);
      return s("text", { x: x(date.getTime()), y: HEIGHT - 4, "text-anchor": part === 0 ? "start" : part === 1 ? "end" : "middle" }, clock(date).slice(0, 5));
    });
    const cross = at && at >= from ? s("line", { class: "cross", x1: x(at + step / 2), x2: x(at + step / 2), y1: TOP, y2: HEIGHT - BOTTOM }) : null;
    fill(picture, axes, areas, times, cross);
    const last = points.at(-1);
    const told = series.map(({ key, label }) => `${label} ${last ? short(value(last, key)) : "–"}`);
    fill(keys, h("strong", {}, title), series.map(({ key }, index) =>
      h("span", { class: "key" }, s("svg", { viewBox: "0 0 8 8", "aria-hidden": "true" }, s("rect", { class: `f-${key}`, width: 8, height: 8, rx: 2 })), told[index])));
    picture.setAttribute("aria-label", `${title}. Latest: ${told.join(", ")} ${unit}. The arrow keys walk through the steps.`);
  }

  function point(time) {
    const near = data?.points.reduce((best, one) => (!best || Math.abs(one.at + data.step / 2 - time) < Math.abs(best.at + data.step / 2 - time) ? one : best), null);
    if (!near) return;
    at = near.at;
    const told = series.map(({ key, label }) => `${label} ${short(value(near, key))}`).join(" · ");
    fill(readout, `${stamp(new Date(at))}: ${told} ${unit}`);
    draw();
  }
  const leave = () => { at = null; fill(readout); if (data) draw(); };
  picture.addEventListener("pointermove", (event) => {
    if (!data) return;
    const box = picture.getBoundingClientRect();
    const part = ((event.clientX - box.left) / box.width) * WIDTH;
    point(data.from + ((part - LEFT) / (WIDTH - LEFT)) * (data.to - data.from));
  });
  picture.addEventListener("pointerleave", leave);
  picture.addEventListener("blur", leave);
  picture.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way || !data?.points.length) return;
    event.preventDefault();
    point((at ?? data.points.at(-1).at) + data.step / 2 + (at === null ? 0 : way * data.step));
  });

  return { figure, update(next) { data = next; draw(); } };
}
