// The links between nodes as a map: drag from node to node, or press Enter on a link, to cut it or to mend it.

const SIZE = 260, MIDDLE = 130, FAR = 95, NODE = 30;
const SVG = "http://www.w3.org/2000/svg";
const CUT = "#D55E00", WHOLE = "#0072B2";

function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

function render({ model, el }) {
  let chosen = 0, dragged = null, line = null;

  const names = () => model.get("nodes");
  const place = (name) => {
    const turn = (2 * Math.PI * names().indexOf(name)) / names().length - Math.PI / 2;
    return [MIDDLE + FAR * Math.cos(turn), MIDDLE + FAR * Math.sin(turn)];
  };
  const links = () => names().flatMap((one, at) => names().slice(at + 1).map((other) => [one, other]));
  const isCut = (one, other) => model.get("cuts").some(([from, to]) => from === one && to === other);

  function said([one, other]) {
    const there = isCut(one, other), back = isCut(other, one);
    if (there && back) return `${one} – ${other}: cut`;
    if (there || back) return there ? `${one} to ${other}: cut` : `${other} to ${one}: cut`;
    return `${one} – ${other}: whole`;
  }

  function toggle(link) {
    if (model.get("usable")) model.send({ link });
  }

  const svg = drawn("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, width: SIZE, height: SIZE, "font-size": 11,
    "font-family": "system-ui,sans-serif", role: "group", "aria-label": "Links between the nodes" });
  svg.style.touchAction = "none";
  const style = document.createElement("style");  // a box around a slanting line would lie on its neighbours
  style.textContent = "[role=switch]:focus{outline:none}" +
    "[role=switch]:focus-visible path:first-of-type{stroke:#0072B2;stroke-opacity:.4}";
  el.append(style);
  el.append(svg);

  function link(ends, number) {
    const [x1, y1] = place(ends[0]), [x2, y2] = place(ends[1]), cut = !said(ends).endsWith("whole");
    const group = drawn("g", { role: "switch", "aria-checked": !cut, "aria-label": `Link ${said(ends)}`,
      tabindex: number === chosen ? 0 : -1 });
    group.style.cursor = "pointer";
    group.append(drawn("title", {}, said(ends)));
    group.append(drawn("path", { d: `M${x1} ${y1}L${x2} ${y2}`, stroke: "transparent", "stroke-width": 14 }));
    group.append(drawn("path", { d: `M${x1} ${y1}L${x2} ${y2}`, stroke: cut ? CUT : WHOLE, "stroke-width": cut ? 2 : 1.5,
      "stroke-dasharray": cut ? "5 5" : "none" }));
    if (cut) {
      const x = (x1 + x2) / 2, y = (y1 + y2) / 2;
      group.append(drawn("path", { d: `M${x - 7} ${y - 7}l14 14m-14 0l14-14`, stroke: CUT, "stroke-width": 3 }));
    }
    group.addEventListener("click", () => { chosen = number; toggle(ends); });
    return group;
  }

  function node(name) {
    const [x, y] = place(name), group = drawn("g", { "data-node": name });
    group.style.cursor = "grab";
    group.append(drawn("circle", { cx: x, cy: y, r: NODE, fill: "var(--jp-layout-color1, Canvas)", stroke: "currentColor" }));
    group.append(drawn("text", { x, y: y + 4, "text-anchor": "middle", fill: "currentColor", "font-size": name.length > 8 ? 9 : 11 }, name));
    group.addEventListener("pointerdown", (event) => {
      dragged = name;
      line = drawn("path", { stroke: CUT, "stroke-width": 3, "stroke-dasharray": "2 4", "pointer-events": "none" });
      svg.append(line);
      svg.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    return group;
  }

  const point = (event) => {
    const box = svg.getBoundingClientRect();
    return [((event.clientX - box.left) * SIZE) / box.width, ((event.clientY - box.top) * SIZE) / box.height];
  };
  svg.addEventListener("pointermove", (event) => {
    if (dragged) line.setAttribute("d", `M${place(dragged).join(" ")}L${point(event).join(" ")}`);
  });
  svg.addEventListener("pointerup", (event) => {
    const [x, y] = point(event), from = dragged;
    draw();
    const to = names().find((name) => Math.hypot(place(name)[0] - x, place(name)[1] - y) <= NODE);
    if (from && to && from !== to) toggle([from, to]);
  });
  svg.addEventListener("pointercancel", () => draw());
  svg.addEventListener("keydown", (event) => {
    const count = links().length, step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) chosen = (chosen + step + count) % count;
    else if (event.key === "Enter" || event.key === " ") toggle(links()[chosen]);
    else return;
    event.preventDefault();
    event.stopPropagation();
    draw();
    svg.querySelector('[tabindex="0"]')?.focus();
  });

  function draw() {
    const focused = svg.contains(document.activeElement);
    dragged = line = null;
    svg.replaceChildren(...links().map(link), ...names().map(node));
    svg.style.opacity = model.get("usable") ? 1 : 0.5;
    if (focused) svg.querySelector('[tabindex="0"]')?.focus();
  }

  model.on("change:nodes", draw);
  model.on("change:cuts", draw);
  model.on("change:usable", draw);
  draw();
}

export default { render };
