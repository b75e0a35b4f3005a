// A space-time diagram that moves: zoom, pan, scrub, step, filter, and the causal past and future of an event.
// It needs no kernel and no network. What there is to draw comes from spacetime_facts.py, how it looks from LOOK in
// spacetime_svg.py. Only what lies in the window is in the page, so that the length of a trace does not matter.
(figure => {
  const read = name => JSON.parse(figure.querySelector(`script.${name}`).textContent);
  const data = read("lab-st-data"), look = read("lab-st-look");
  const AT = 0, KIND = 1, LANE = 2, LABEL = 3, WORDS = 4, BODY = 5;
  const events = data.events, lanes = data.lanes;
  const flights = data.flights.map(([sent, ended, fate, source, dest, label]) => ({ sent, ended, fate, source, dest, label }));
  const spans = data.spans.map(([what, lane, begin, end, label]) => ({ what, lane, begin, end, label }));
  const [NARROWEST, WIDEST, USUAL, READABLE] = [3, 90, 34, 18];
  const TOP = 40, BOTTOM = 38, gap = Math.max(24, Math.min(62, 560 / lanes.length));
  const LEFT = 24 + 7.4 * Math.max(0, ...lanes.map(name => name.length));
  const height = TOP + gap * (lanes.length - 1) + BOTTOM;
  const carries = ["send", "deliver", "lose"];
  const isWrong = event => ["violation", "error"].includes(event[KIND]);
  const causes = new Map(flights.filter(f => f.sent !== null && f.ended !== null).map(f => [f.ended, f.sent]));
  const labelOf = new Map(flights.flatMap(f => [[f.sent, f.label], [f.ended, f.label]]));
  const kindOf = place => carries.includes(events[place][KIND]) ? labelOf.get(place) : events[place][KIND];
  const hidden = { types: new Set(), lanes: new Set() };
  let step = USUAL, offset = 0, chosen = null, hovered = null, due = false;
  let shown = [], column = new Int32Array(events.length), width = 800;

  // ---------------------------------------------------------------------------------------------- the parts of the page

  const make = (name, properties = {}, ...kids) => {
    const { dataset = {}, ...rest } = properties, node = Object.assign(document.createElement(name), rest);
    Object.assign(node.dataset, dataset);
    node.append(...kids);
    return node;
  };
  const escape = text => String(text).replace(/[&<>"]/g, sign => `&#${sign.charCodeAt(0)};`);
  const button = (text, title, act) => make("button", { type: "button", textContent: text, title, onclick: act });
  const stage = make("div", { className: "lab-st-stage", tabIndex: 0 });
  stage.setAttribute("role", "application");
  stage.setAttribute("aria-label", `${figure.querySelector("svg").getAttribute("aria-label")} `
    + "Left and right step through the events, Enter goes along a message, plus and minus zoom.");
  const map = make("canvas", { className: "lab-st-map" });
  const frame = make("div", { className: "lab-st-frame" }), overview = make("div", { className: "lab-st-overview" }, map, frame);
  overview.setAttribute("aria-hidden", "true");
  const scrub = make("input", { type: "range", className: "lab-st-scrub", min: 0, value: 0 });
  scrub.setAttribute("aria-label", "place in the run");
  const told = make("output", { className: "lab-st-told" });
  told.setAttribute("aria-live", "polite");
  const HINT = told.value = "Point at an event, or go from one to the next with the arrow keys.";
  const bar = make("div", { className: "lab-st-bar" },
    button("First", "the first event (Home)", () => choose(shown[0])),
    button("Back", "one event back (left arrow)", () => walk(-1)),
    button("Next", "one event on (right arrow)", () => walk(1)),
    button("Last", "the last event (End)", () => choose(shown.at(-1))),
    button("Zoom in", "wider columns (+)", () => zoom(1.4)),
    button("Zoom out", "narrower columns (-)", () => zoom(1 / 1.4)),
    make("details", {}, make("summary", { textContent: "Show" }),
      choices("nodes", lanes.map((name, lane) => [name, lane]), hidden.lanes),
      choices("messages and events", [...new Set(events.map((_, place) => kindOf(place)))].sort().map(one => [one, one]), hidden.types)));

  function choices(title, options, set) {
    const boxes = options.map(([text, value]) => {
      const box = make("input", { type: "checkbox", checked: true });
      box.onchange = () => { set[box.checked ? "delete" : "add"](value); arrange(); };
      return make("label", {}, box, ` ${text}`);
    });
    return make("fieldset", {}, make("legend", { textContent: title }), ...boxes);
  }

  // ---------------------------------------------------------------------------------------------- what is where

  function arrange() {
    shown = [];
    let last = -1, before = "";
    events.forEach((event, place) => {
      const visible = !hidden.types.has(kindOf(place)) && !hidden.lanes.has(event[LANE]);
      if (visible) {
        last += event[KIND] === "start" && before === "start" ? 0 : 1;
        before = event[KIND];
        shown.push(place);
      }
      column[place] = visible ? last : -1 - Math.max(0, last); // negative: hidden, and where it would stand
    });
    scrub.max = Math.max(0, last);
    move(offset);
    paintMap();
  }
  const columnOf = place => column[place] >= 0 ? column[place] : -1 - column[place];
  const x = place => LEFT + 14 + step * (place === null ? columnOf(events.length - 1) + 1.2 : columnOf(place)) - offset;
  const y = lane => TOP + gap * lane;
  const room = () => Math.max(0, step * (columnOf(events.length - 1) + 2) + LEFT + 90 - width);
  const move = to => { offset = Math.max(0, Math.min(room(), to)); draw(); };
  const centre = place => move(columnOf(place) * step - (width - LEFT) / 2);

  const survey = () => { overview.hidden = scrub.hidden = room() === 0; }; // of what is all in sight
  function zoom(factor, at = (width + LEFT) / 2) {
    const before = (offset + at - LEFT) / step;
    step = Math.max(NARROWEST, Math.min(WIDEST, step * factor));
    survey();
    move(before * step - at + LEFT);
  }

  function choose(place) {
    if (place === undefined) return;
    chosen = place;
    hovered = null;
    if (x(place) < LEFT + 20 || x(place) > width - 40) centre(place); else draw();
    tell(place);
  }

  function walk(by) {
    const here = chosen === null ? (by > 0 ? -1 : shown.length) : shown.findIndex(place => place >= chosen);
    choose(shown[Math.max(0, Math.min(shown.length - 1, here + by))]);
  }

  function along() { // from a sending to its arrival, and back
    const flight = flights.find(one => one.sent === chosen && one.ended !== null) ?? flights.find(one => one.ended === chosen);
    const other = flight && (flight.sent === chosen ? flight.ended : flight.sent);
    if (other !== null && other !== undefined) choose(other);
  }

  // ---------------------------------------------------------------------------------------------- causes and effects

  function relations(place) { // for each event: 1 happened before, 2 can be influenced, 3 the event itself, 0 neither
    const found = new Uint8Array(events.length), reached = new Set([place]), lanesBack = new Set(), lanesOn = new Set();
    const counts = at => events[at][LANE] >= 0 && events[at][KIND] !== "lose";
    for (let at = place; at >= 0; at--) {
      if (!reached.has(at) && !(counts(at) && lanesBack.has(events[at][LANE]))) continue;
      found[at] = 1;
      if (counts(at)) lanesBack.add(events[at][LANE]);
      if (causes.has(at)) reached.add(causes.get(at));
    }
    for (let at = place; at < events.length; at++) {
      const caused = causes.has(at) && found[causes.get(at)] >= 2;
      if (at !== place && !caused && !(counts(at) && lanesOn.has(events[at][LANE]))) continue;
      found[at] = 2;
      if (counts(at)) lanesOn.add(events[at][LANE]);
    }
    found[place] = 3;
    return found;
  }

  let known = { place: null, found: null };
  const related = place => known.place === place ? known.found : (known = { place, found: relations(place) }).found;

  function tell(place) {
    const event = events[place], found = related(place), count = kind => found.reduce((sum, one) => sum + (one === kind), 0);
    const saved = events.findLastIndex((one, at) => at <= place && one[KIND] === "save" && one[LANE] === event[LANE]);
    told.value = `${(place + 1).toLocaleString("en")} of ${events.length.toLocaleString("en")} · ${event[AT].toFixed(4)} s · `
      + `${lanes[event[LANE]] ?? "network"} ${event[WORDS]}`
      + (event[BODY] ? `\n${JSON.stringify(event[BODY])}` : "")
      + (saved >= 0 && saved !== place ? `\nlast saved there: ${events[saved][WORDS].replace(/^saves /, "")}` : "")
      + `\n‹ ${count(1)} events happened before it, › ${count(2)} can have been influenced by it, ${count(0)} neither`;
  }

  // ---------------------------------------------------------------------------------------------- drawing

  function draw() {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; paint(); });
  }

  function firstAt(wanted) { // the place in `shown` of the first event in a column not before this one
    let [low, high] = [0, shown.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (column[shown[middle]] < wanted) low = middle + 1; else high = middle;
    }
    return low;
  }

  // One picture while it is drawn: `back`, `front` and `marks` lie over one another in this order.
  function begin() {
    const focus = hovered ?? chosen, seen = shown.slice(firstAt(offset / step - 0.4), firstAt((offset + width - LEFT) / step + 1));
    const taken = seen.filter(place => events[place][LANE] >= 0).map(place => [x(place) - 7, x(place) + 7, y(events[place][LANE]) + 4]);
    return { focus, found: focus === null ? null : related(focus), seen, taken, back: [], front: [], marks: [] };
  }

  const inside = (a, b = a) => b >= LEFT - step && a <= width + step;
  const titled = (title, inner, more = "") => `<g ${more}><title>${escape(title)}</title>${inner}</g>`;
  const text = (a, b, words, more = "") => `<text x="${a}" y="${b}" fill="currentColor" ${more}>${escape(words)}</text>`;
  const stroke = (path, colour, wide, more = "") => `<path d="${path}" stroke="${colour}" stroke-width="${wide}" ${more}/>`;

  function label(sheet, a, b, words) { // if nothing stands there; tooltips have what has no room
    const short = words.length > 28 ? `${words.slice(0, 25)}...` : words, right = a + 6.4 * short.length;
    const hit = sheet.taken.some(([left, end, base]) => a < end && left < right && Math.abs(b - base) < 12);
    if (step < READABLE || a < LEFT || hit) return "";
    sheet.taken.push([a, right, b]);
    return text(a, b, short, 'class="lab-st-label"');
  }

  function relation(found, ...places) {
    if (!found) return "";
    const kinds = places.filter(place => place !== null).map(place => found[place]);
    if (kinds.includes(3) && kinds.every(kind => kind)) return "is-chosen";
    return kinds.every(kind => kind === 1) ? "is-past" : kinds.every(kind => kind === 2) ? "is-future" : "is-other";
  }

  function paintSpan(sheet, span) {
    const a = Math.max(LEFT - 6, x(span.begin)), b = x(span.end);
    if (!inside(a, b) || hidden.lanes.has(span.lane)) return;
    if (span.what === "partition") {
      const box = `<rect x="${a}" y="18" width="${Math.max(1, b - a)}" height="${height - 34}" fill="currentColor" fill-opacity=".07"`
        + ' stroke="currentColor" stroke-opacity=".5" stroke-dasharray="6 3"/>';
      sheet.back.push(titled(`partition: ${span.label}`, box + text(a + 4, 13, `partition: ${span.label}`)));
    } else if (span.what === "operation" && !hidden.types.has("call")) {
      const h = y(span.lane), ends = `M${x(span.begin)} ${h - 7}v14${span.end === null ? "" : `M${b} ${h - 7}v14`}`;
      const bar = stroke(`M${a} ${h}H${b}`, look.operation, 6, 'stroke-opacity=".35"');
      sheet.front.push(titled(span.label, stroke(ends, look.operation, 2) + bar), label(sheet, a + 3, h - 10, span.label));
    }
  }

  function paintLane(sheet, lane) {
    const line = (a, b, dashes) => stroke(`M${Math.max(LEFT - 6, a)} ${y(lane)}H${Math.min(width, Math.max(LEFT - 6, b))}`,
      "currentColor", 1, `stroke-opacity=".55" stroke-dasharray="${dashes}"`);
    let from = LEFT - 6;
    for (const span of spans) {
      if (span.lane !== lane || !look.lanes[span.what]) continue;
      sheet.back.push(line(from, x(span.begin), ""), line(x(span.begin), x(span.end), look.lanes[span.what]));
      from = x(span.end);
    }
    sheet.back.push(line(from, x(null), ""));
  }

  function paintMark(sheet, place) {
    const event = events[place], [at, kind, lane, name, words] = event, a = x(place), h = lane < 0 ? height - 24 : y(lane);
    if (isWrong(event)) {
      sheet.back.push(`<rect x="${a - 14}" y="18" width="28" height="${height - 34}" fill="${look.wrong}" fill-opacity=".18" stroke="${look.wrong}"/>`,
        text(a + 17, height - 20, kind.toUpperCase(), 'font-weight="700"'));
    }
    if (!look.marks[kind]) return;
    const [path, colour, filled] = look.marks[kind], how = relation(sheet.found, place);
    const sign = { "is-past": "‹", "is-future": "›" }[how];
    const shape = stroke(path, colour, 2, `fill="${filled ? colour : "none"}" transform="translate(${a} ${h}) scale(${Math.min(1, step / 12)})"`);
    const ring = place === sheet.focus ? `<circle cx="${a}" cy="${h}" r="11" stroke="currentColor" stroke-width="2"/>` : "";
    sheet.marks.push(titled(`${at.toFixed(4)} s ${lanes[lane] ?? "network"} ${words}`,
      shape + `<circle cx="${a}" cy="${h}" r="9" fill="#0000"/>` + ring + (sign && step > 8 ? text(a - 3, h + 17, sign) : ""), `class="${how}" data-event="${place}"`));
    if (look.named.includes(kind)) sheet.marks.push(label(sheet, a + 6, h - 9, name));
  }

  function paintFlight(sheet, flight) {
    const { sent, ended, fate, source, dest } = flight, own = source === dest;
    if (hidden.types.has(flight.label) || hidden.lanes.has(source) || hidden.lanes.has(dest)) return;
    let x1 = sent === null ? LEFT - 6 : x(sent), y1 = y(source), x2 = x(ended), y2 = y(dest);
    if (!inside(x1, x2)) return;
    if (["lost", "under way"].includes(fate)) {
      x2 = x1 + look.lost_after * (x2 - x1);
      y2 = y1 + look.lost_after * (y2 - y1);
    }
    const [dashes, colour, thick, tip, filled] = look.fates[fate], first = events[sent ?? ended];
    const angle = own ? 55 : Math.atan2(y2 - y1, x2 - x1) * 180 / Math.PI;
    const path = `M${x1} ${y1}${own ? `Q${(x1 + x2) / 2} ${y1 - 34} ${x2} ${y2}` : `L${x2} ${y2}`}`;
    sheet.front.push(titled(`${fate}: ${lanes[first[LANE]]} ${first[WORDS]}`,
      stroke(path, colour, thick, `stroke-dasharray="${dashes}"`) + stroke(path, "#0000", 9) // the second for the pointer
      + stroke(tip, colour, 1.5, `fill="${filled ? colour : "none"}" transform="translate(${x2} ${y2}) rotate(${angle})"`),
      `class="${relation(sheet.found, ...[sent, ended].filter(place => place !== null))}" data-event="${sent ?? ended}"`));
    for (const part of look.label_places) {
      const words = flight.label + (look.said[fate] ?? "");
      const one = label(sheet, x1 + part * (x2 - x1) + 5, y1 + part * (y2 - y1) + (own ? -20 : 4), words);
      if (one) return void sheet.front.push(one);
    }
  }

  function paint() {
    const sheet = begin();
    spans.forEach(span => paintSpan(sheet, span));
    lanes.forEach((_, lane) => hidden.lanes.has(lane) || paintLane(sheet, lane));
    sheet.seen.forEach(place => paintMark(sheet, place)); // before the messages: their labels matter more
    flights.forEach(flight => paintFlight(sheet, flight));
    let free = LEFT;
    for (const place of sheet.seen) {
      if (x(place) < free) continue;
      free = x(place) + 76;
      sheet.marks.push(text(x(place) - 3, height - 5, `${+events[place][AT].toPrecision(4)} s`));
    }
    const names = lanes.map((name, lane) => hidden.lanes.has(lane) ? "" : text(8, y(lane) + 4, name, 'font-weight="600"'));
    const window_ = `x="${LEFT - 6}" width="${width - LEFT + 6}" height="${height}" viewBox="${LEFT - 6} 0 ${width - LEFT + 6} ${height}"`;
    stage.innerHTML = `<svg height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui,sans-serif" font-size="11"`
      + ` fill="none" aria-hidden="true">${names.join("")}<svg ${window_}>${[...sheet.back, ...sheet.front, ...sheet.marks].join("")}</svg></svg>`;
    scrub.value = Math.round((offset + (width - LEFT) / 2) / step);
    paintFrame();
  }

  function paintMap() {
    const ratio = window.devicePixelRatio || 1, pen = map.getContext("2d");
    map.width = width * ratio;
    map.height = 40 * ratio;
    pen.scale(ratio, ratio);
    pen.fillStyle = getComputedStyle(figure).color;
    const total = columnOf(events.length - 1) + 1, tall = Math.max(1, 34 / lanes.length - 1);
    for (const place of shown) {
      const [, kind, lane] = events[place], wrong = isWrong(events[place]);
      pen.globalAlpha = wrong || kind === "crash" ? 1 : 0.45;
      pen.fillRect(columnOf(place) / total * width, wrong ? 0 : 3 + Math.max(0, lane) / lanes.length * 34, wrong ? 3 : 1.2, wrong ? 40 : tall);
    }
  }

  function paintFrame() { // what part of the run is in the window
    const whole = step * (columnOf(events.length - 1) + 1);
    frame.style.left = `${Math.min(100, 100 * offset / whole)}%`;
    frame.style.width = `${Math.min(100, 100 * (width - LEFT) / whole)}%`;
  }

  // ---------------------------------------------------------------------------------------------- hands and keys

  const KEYS = {
    ArrowRight: () => walk(1), ArrowLeft: () => walk(-1), Home: () => choose(shown[0]), End: () => choose(shown.at(-1)),
    PageDown: () => move(offset + width * 0.8), PageUp: () => move(offset - width * 0.8), Enter: along,
    "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4),
    Escape: () => { chosen = hovered = null; told.value = HINT; draw(); },
  };
  stage.addEventListener("keydown", pressed => {
    if (!KEYS[pressed.key] || pressed.ctrlKey || pressed.metaKey || pressed.altKey) return;
    KEYS[pressed.key]();
    pressed.preventDefault();
    pressed.stopPropagation();
  });
  let held = null;
  const under = moved => { const found = moved.target.closest?.("[data-event]"); return found ? +found.dataset.event : null; };
  stage.addEventListener("pointerdown", pressed => { held = { x: pressed.clientX, offset, place: under(pressed), moved: false }; });
  stage.addEventListener("pointermove", moved => {
    if (held && moved.buttons) {
      held.moved ||= Math.abs(moved.clientX - held.x) > 4;
      if (held.moved) { stage.setPointerCapture(moved.pointerId); move(held.offset - (moved.clientX - held.x)); }
    } else if (under(moved) !== hovered) {
      hovered = under(moved);
      if (hovered ?? chosen) tell(hovered ?? chosen);
      draw();
    }
  });
  stage.addEventListener("pointerup", () => { if (held && !held.moved && held.place !== null) choose(held.place); held = null; });
  stage.addEventListener("pointerleave", () => { if (hovered !== null) { hovered = null; draw(); if (chosen !== null) tell(chosen); } });
  stage.addEventListener("wheel", turned => {
    if (turned.ctrlKey || turned.altKey) zoom(turned.deltaY < 0 ? 1.2 : 1 / 1.2, turned.offsetX);
    else if (turned.shiftKey || Math.abs(turned.deltaX) > Math.abs(turned.deltaY)) move(offset + turned.deltaX + turned.deltaY);
    else return; // the page scrolls
    turned.preventDefault();
  }, { passive: false });
  scrub.addEventListener("input", () => move(scrub.value * step - (width - LEFT) / 2));
  map.addEventListener("pointerdown", pressed => move(pressed.offsetX / width * step * (columnOf(events.length - 1) + 1) - (width - LEFT) / 2));

  // ---------------------------------------------------------------------------------------------- the beginning

  const view = figure.querySelector(".lab-st-view");
  view.style.overflow = "visible";
  view.replaceChildren(bar, stage, overview, scrub, told);
  figure.dataset.lmSuppressShortcuts = "true"; // JupyterLab's keys are not for us here
  figure.dataset.live = "true";
  figure.querySelector(".lab-st-left-out")?.remove();
  const wrong = events.findLastIndex(isWrong);
  const fit = () => {
    width = Math.max(300, stage.clientWidth || 800);
    arrange();
    survey();
  };
  fit();
  step = Math.max(READABLE, Math.min(USUAL, (width - LEFT - 110) / Math.max(1, columnOf(events.length - 1) + 2)));
  survey();
  if (wrong >= 0) { chosen = wrong; centre(wrong); tell(wrong); } else move(0);
  paint();
  new ResizeObserver(() => { if (Math.abs(stage.clientWidth - width) > 1 && stage.clientWidth) fit(); }).observe(stage);
  // Where a copy of the script is run, as in VS Code, it stands after all that was shown, not in the figure.
})((script => script.closest("figure") ?? script.parentNode.querySelector("figure.lab-st"))(document.currentScript));
