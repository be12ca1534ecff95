"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const dashes = ["", "8 3", "8 3 2 3", "2 2", "5 2 2 2 2 2"];
const svgns = "http://www.w3.org/2000/svg";

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(svgns, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/* The verdict table: sorted by its headers, filtered by words. */
function setUpTable() {
  const table = document.getElementById("table"), body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells], rows = [...body.rows];
  headers.forEach((header, place) => header.firstElementChild.addEventListener("click", () => {
    const up = header.getAttribute("aria-sort") !== "ascending";
    headers.forEach(other => other.setAttribute("aria-sort", other === header ? (up ? "ascending" : "descending") : "none"));
    const key = row => row.cells[place].dataset.sort;
    rows.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return up ? order : -order;
    });
    body.append(...rows);
  }));
  const filter = document.getElementById("filter"), shown = document.getElementById("shown");
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const cells = [...row.cells].map(cell => cell.textContent.toLowerCase());
      row.hidden = !words.every(word => cells.some(cell => cell.includes(word)));
      count += !row.hidden;
    }
    shown.textContent = words.length ? `${count} of ${rows.length} rows` : "";
  });
}

/* The curves: a panel a task, a line a strategy; lines are shown and hidden by the legend. */
const frame = {height: 210, left: 44, right: 8, top: 18, bottom: 26};
const hidden = new Set();

function setUpCurves() {
  if (!data.curves.length) return;
  const orders = data.curves.map(entry => entry.order);
  if (orders.length > 1) {
    const select = make("select", {id: "order"}, ...orders.map((order, place) => make("option", {value: place}, order)));
    select.addEventListener("change", () => drawCurves(data.curves[select.value]));
    document.getElementById("curve-order").append(make("label", {for: "order"}, "Order "), select);
  }
  const strategies = new Map();
  for (const entry of data.curves) for (const panel of entry.panels) for (const line of panel.lines)
    if (!strategies.has(line.strategy)) strategies.set(line.strategy, {colour: line.colour, place: strategies.size});
  for (const [strategy, look] of strategies) {
    const box = make("input", {type: "checkbox", checked: ""});
    box.addEventListener("change", () => {
      box.checked ? hidden.delete(strategy) : hidden.add(strategy);
      for (const mark of document.querySelectorAll(".line")) mark.style.display = hidden.has(mark.dataset.strategy) ? "none" : "";
    });
    const sample = draw("svg", {width: 34, height: 10, "aria-hidden": "true"}, stroke("line", {x1: 0, y1: 5, x2: 34, y2: 5}, look));
    document.getElementById("legend").append(make("label", {}, box, sample, strategy));
  }
  data.looks = strategies;
  drawCurves(data.curves[0]);
  // Drawn at its real size, so that letters stay letters on a small screen.
  new ResizeObserver(() => {
    if (document.getElementById("panels").clientWidth !== frame.width) drawCurves(data.shown);
  }).observe(document.getElementById("panels"));
}

function stroke(tag, attributes, look) {
  return draw(tag, {...attributes, fill: "none", stroke: look.colour, "stroke-width": 2, "stroke-dasharray": dashes[look.place % dashes.length]});
}

function drawCurves(entry) {
  const panels = document.getElementById("panels");
  frame.width = panels.clientWidth;
  data.shown = entry;
  panels.replaceChildren(...entry.panels.map((panel, place) => drawPanel(entry, panel, place)));
}

function drawPanel(entry, panel, place) {
  const last = entry.ends[entry.ends.length - 1];
  const top = 1.08 * Math.max(panel.baseline || 0, panel.test || 0, 0.01, ...panel.lines.flatMap(line => [...line.points, ...line.test].map(point => point[3])));
  const x = step => frame.left + step / last * (frame.width - frame.left - frame.right);
  const y = score => frame.height - frame.bottom - score / top * (frame.height - frame.top - frame.bottom);
  const svg = draw("svg", {width: frame.width, height: frame.height, viewBox: `0 0 ${frame.width} ${frame.height}`, tabindex: 0, role: "img"});
  svg.setAttribute("aria-label", `${panel.task}: ${panel.metric} over epochs. ` + panel.lines.map(line =>
    `${line.strategy} ends at ${line.points[line.points.length - 1][1].toFixed(3)}` +
    (line.test.length ? ` (test ${line.test[line.test.length - 1][1].toFixed(3)})` : "")).join(", ") +
    (panel.baseline ? `; baseline ${panel.baseline.toFixed(3)}` : "") + (panel.test ? ` (test ${panel.test.toFixed(3)})` : ""));
  if (panel.baseline) {
    const low = y(panel.baseline * (1 - data.limit)), high = y(panel.baseline);
    svg.append(draw("rect", {class: "allowed", x: frame.left, y: high, width: Math.max(0, x(last) - frame.left), height: low - high}));
    svg.append(draw("line", {class: "base", x1: frame.left, x2: x(last), y1: high, y2: high}));
  }
  if (panel.test) svg.append(draw("line", {class: "base", x1: frame.left, x2: x(last), y1: y(panel.test), y2: y(panel.test), "stroke-dasharray": "5 4"}));
  const rise = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find(rise => top / rise < 6) || 1;
  for (let tick = 0; tick <= top; tick += rise) {
    svg.append(draw("text", {x: frame.left - 6, y: y(tick) + 4, "text-anchor": "end"}, tick.toFixed(2)));
    svg.append(draw("line", {class: "axis", x1: frame.left, x2: x(last), y1: y(tick), y2: y(tick)}));
  }
  entry.ends.forEach((end, stage) => {
    const start = stage ? entry.ends[stage - 1] : 0;
    svg.append(draw("text", {x: x((start + end) / 2), y: 12, "text-anchor": "middle"}, (frame.width > 500 ? "training " : "") + entry.stages[stage]));
    svg.append(draw("text", {x: x(end), y: frame.height - 8, "text-anchor": "end"}, stage ? String(end) : `epoch ${end}`));
    if (end !== last) svg.append(draw("line", {class: "axis", x1: x(end), x2: x(end), y1: frame.top, y2: y(0), "stroke-dasharray": "2 3"}));
  });
  for (const line of panel.lines) {
    const look = data.looks.get(line.strategy);
    const path = points => points.map(([step, score]) => `${x(step).toFixed(1)},${y(score).toFixed(1)}`).join(" ");
    const band = [...line.points.map(p => [p[0], p[3]]), ...line.points.map(p => [p[0], p[2]]).reverse()];
    const group = draw("g", {class: "line"},
      draw("polygon", {points: path(band), fill: look.colour, opacity: 0.15}),
      stroke("polyline", {points: path(line.points)}, look),
      ...line.points.map(p => draw("circle", {cx: x(p[0]), cy: y(p[1]), r: line.points.length > 40 ? 1.5 : 3, fill: look.colour})),
      ...line.test.map(p => draw("path", {d: `M${x(p[0])},${y(p[1]) - 6}l6,6l-6,6l-6,-6z`, class: "test", fill: "none", stroke: look.colour, "stroke-width": 1.6})));
    group.dataset.strategy = line.strategy;
    if (hidden.has(line.strategy)) group.style.display = "none";
    svg.append(group);
  }
  const reading = make("p", {class: "reading", "aria-live": "polite"});
  const cursor = draw("line", {class: "axis", y1: frame.top, y2: y(0), "stroke-width": 2, visibility: "hidden"});
  svg.append(cursor);
  const steps = [...new Set(panel.lines.flatMap(line => line.points.map(point => point[0])))].sort((a, b) => a - b);
  let at = -1;
  const read = place => {
    at = Math.max(0, Math.min(steps.length - 1, place));
    const step = steps[at];
    cursor.setAttribute("x1", x(step));
    cursor.setAttribute("x2", x(step));
    cursor.setAttribute("visibility", "visible");
    const values = panel.lines.filter(line => !hidden.has(line.strategy)).map(line => {
      const point = line.points.find(point => point[0] === step);
      const test = line.test.find(point => point[0] === step);
      return point && `${line.strategy} ${point[1].toFixed(3)}` + (test ? ` (test ${test[1].toFixed(3)})` : "");
    }).filter(Boolean);
    reading.textContent = `epoch ${step}: ${values.join(", ")}`;
  };
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect(), wanted = (event.clientX - box.left) / box.width * frame.width;
    const distances = steps.map(step => Math.abs(x(step) - wanted));
    if (steps.length) read(distances.indexOf(Math.min(...distances)));
  });
  svg.addEventListener("keydown", event => {
    const move = {ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: steps.length - 1}[event.key];
    if (move === undefined || !steps.length) return;
    event.preventDefault();
    read(move);
  });
  const title = make("h3", {id: `panel-${place}`}, `${panel.task} (${panel.metric})`);
  return make("div", {class: "panel"}, title, svg, reading);
}

/* What is left of each task after each stage. */
function setUpMatrices() {
  const several = new Set(data.matrices.map(entry => entry.order)).size > 1;
  document.getElementById("matrices").append(...data.matrices.map(entry => {
    const head = make("tr", {}, make("td"), ...entry.tasks.map(task => make("th", {scope: "col"}, task)));
    const rows = entry.cells.map((cells, place) => make("tr", {},
      make("th", {scope: "row"}, entry.stages[place].includes("+") ? "all" : entry.stages[place]),
      ...cells.map((share, place) => {
        if (share === null) return make("td", {"aria-label": "not learnt yet"});
        const cell = make("td", {}, String(Math.floor(100 * share + 1e-7)));
        cell.style.background = `rgba(var(--fill), ${Math.min(0.55, 0.45 * share).toFixed(2)})`;
        if (!entry.void.includes(entry.tasks[place]) && share >= 1 - data.limit - 1e-9) cell.className = "kept";
        return cell;
      })));
    const caption = make("caption", {}, several ? `${entry.strategy}, ${entry.order}` : entry.strategy);
    return make("table", {class: "matrix"}, caption, make("thead", {}, head), make("tbody", {}, ...rows));
  }));
}

/* The forgetting gallery: truth and every strategy's predictions, stage by stage. */
function setUpGallery() {
  const gallery = data.gallery, slider = document.getElementById("gallery-stage");
  if (!slider) return;
  const select = document.getElementById("gallery-task"), label = document.getElementById("gallery-label");
  select.append(...Object.keys(gallery.truths).map(task => make("option", {value: task}, task)));
  slider.max = gallery.order.length - 1;
  slider.value = slider.max;
  const picture = (place, alt) => make("img", {src: gallery.pictures[place], alt, width: 192, height: 192});
  const show = () => {
    const task = select.value, stage = Number(slider.value), after = gallery.order[stage];
    label.textContent = `${stage + 1} of ${gallery.order.length}: ${after}`;
    slider.setAttribute("aria-valuetext", label.textContent);
    const shown = gallery.strategies.map(strategy => ({
      name: strategy.strategy,
      learnt: strategy.together || gallery.order.indexOf(task) <= stage,
      frame: (strategy.tasks[task] || []).find(frame => strategy.together || frame.position === stage),
    }));
    const head = make("tr", {}, make("th", {scope: "col"}, "truth"), ...shown.map(one => make("th", {scope: "col"}, one.name)));
    const rows = gallery.truths[task].map((truth, row) => make("tr", {},
      make("td", {}, picture(truth, `${gallery.names[task][row]}: truth`)),
      ...shown.map(one => one.frame
        ? make("td", {}, picture(one.frame.pictures[row], `${gallery.names[task][row]}: ${one.name} after ${after}`))
        : make("td", {class: "none"}, one.learnt ? "not in the store" : "not learnt yet"))));
    document.getElementById("pictures").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
  };
  // Once when the page opens, from the first stage to the last; whoever moves the slider, or asks for stillness, stops it.
  const button = document.getElementById("gallery-play");
  let timer = 0;
  const stop = () => { clearInterval(timer); timer = 0; button.textContent = "play"; };
  const play = () => {
    stop();
    slider.value = 0;
    show();
    button.textContent = "stop";
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show();
      if (slider.value === slider.max) stop();
    }, 1200);
  };
  button.addEventListener("click", () => timer ? stop() : play());
  select.addEventListener("change", show);
  slider.addEventListener("input", () => { stop(); show(); });
  show();
  if (slider.max !== "0" && !matchMedia("(prefers-reduced-motion: reduce)").matches) play();
}

/* The table for a paper, the numbers for a script, the entry for a bibliography. */
function setUpCopies() {
  const said = document.getElementById("copied");
  for (const button of document.querySelectorAll("button.copy")) button.addEventListener("click", async () => {
    const name = button.textContent, text = data.copies[name];
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // A page from a file may not have the clipboard; a selection does.
      const area = make("textarea", {readonly: ""});
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    said.textContent = `${name} copied`;
  });
}

setUpTable();
setUpCurves();
setUpMatrices();
setUpGallery();
setUpCopies();
document.documentElement.dataset.ready = "true";
