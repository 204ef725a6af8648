"use strict";
// Shows the document of a run. Whatever it says becomes text, never markup.
(() => {
const run = JSON.parse(document.getElementById("data").textContent);
const OUTCOMES = ["failed", "error", "unfinished", "xpassed", "xfailed", "skipped", "passed"];
const PAGE = 100;
const PARTS = new Set(["choose", "download", "launch", "answer", "reattach", "step"]);
const byId = (id) => document.getElementById(id);

function h(name, given, ...children) {
  const [kind, ...classes] = name.split(".");
  const made = document.createElement(kind || "div");
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(given || {})) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== ""));
  return made;
}

function s(kind, given, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [key, value] of Object.entries(given)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const count = (number) => number.toLocaleString("en");
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
const percent = (part, whole) => (whole > 0 ? `${Math.round((100 * part) / whole)} %` : "");
function time(seconds) {
  if (seconds >= 60) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds >= 1) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  const ms = seconds * 1000;
  return `${ms.toFixed(ms < 10 ? (ms < 1 ? 2 : 1) : 0)} ms`;
}
function split(nodeid) {
  const at = nodeid.indexOf("::");
  return at < 0 ? ["", nodeid] : [nodeid.slice(0, at), nodeid.slice(at + 2)];
}
// Long names break where their words end.
const breakable = (text) => text.split(/(?<=[_/:.[])/).flatMap((word) => [word, h("wbr")]);
function named(nodeid) {
  const [path, name] = split(nodeid);
  return h("div.name", null, h("b", null, breakable(name)), path ? h("div.path", null, breakable(path)) : null);
}
const dot = (kind) => h(`i.dot.b-${kind}`);
const shown = (element, width) => { element.style.width = `${width}%`; return element; };

// A details element whose inside is made when it is first opened.
function unfold(name, given, summary, inside) {
  const made = h(`details.${name}`, given, summary);
  let filled = false;
  const fill = () => { if (!filled) { filled = true; made.append(inside()); } };
  made.addEventListener("toggle", () => { if (made.open) fill(); });
  made.fill = fill;
  return made;
}

function part(id, title, about, ...content) {
  return h("section", { id, "aria-labelledby": `${id}-title` },
    h("h2", { id: `${id}-title` }, title), about ? h("p", null, about) : null, ...content);
}

// Shows the first of many, and more when asked.
function paged(list, make, into, noun, first = PAGE) {
  let next = 0;
  const more = h("button", { type: "button", onclick: () => show(PAGE) });
  const told = h("span", { role: "status" });
  const bar = h("div.more", null, more, told);
  function show(most) {
    const last = Math.min(next + most, list.length);
    into.append(...list.slice(next, last).map(make));
    next = last;
    const left = list.length - next;
    more.hidden = !left;
    more.textContent = `Show ${count(Math.min(PAGE, left))} more`;
    told.textContent = left ? `${count(next)} of ${plural(list.length, noun)}` : plural(list.length, noun);
  }
  show(first);
  return bar;
}

// The head.
function verdict() {
  const bad = (run.outcomes.failed || 0) + (run.outcomes.error || 0);
  const all = run.tests.length;
  if (bad) return [h("span.failed", null, count(bad)), ` of ${plural(all, "test")} ${bad === 1 ? "fails" : "fail"}`];
  if (run.run.exit_status === 2) return [`Interrupted after ${plural(all, "test")}`];
  if (!all) return ["No test has run"];
  if (run.run.exit_status) return [`${plural(all, "test")}, and exit status ${run.run.exit_status}`];
  return [h("span.passed", null, "Passed"), `: ${plural(all, "test")}`];
}

function header() {
  const of = run.run;
  const total = run.tests.reduce((sum, test) => sum + test.duration, 0);
  const isolation = run.tests.reduce((sum, test) => sum + test.isolation_time, 0);
  const present = OUTCOMES.filter((each) => run.outcomes[each]);
  const bar = h("div.outcomes", { role: "img", "aria-label": present.map((each) => `${run.outcomes[each]} ${each}`).join(", ") });
  for (const each of present) {
    const piece = h(`span.b-${each}`);
    piece.style.flex = `${run.outcomes[each]} 1 0`;
    bar.append(piece);
  }
  const fact = (name, value, more) => h("div", null, h("dt", null, name), h("dd", null, value, more ? h("small", null, more) : null));
  const stopped = of.stopped || (of.exit_status === 2 ? "interrupted" : "");
  byId("header").append(
    h("div.brand", null, h("b", null, "pytest-berth"), h("span", null, `run ${of.id}`), h("time", { datetime: of.start }, new Date(of.start).toLocaleString())),
    h("h1", null, ...verdict()),
    bar,
    h("ul.legend", null, present.map((each) => h("li", null, dot(each), `${count(run.outcomes[each])} ${each}`))),
    h("dl.facts", null,
      fact("Duration", time(of.duration), stopped),
      fact("In tests", time(total), of.workers.length > 1 ? `${of.workers.length} workers` : ""),
      fact("For isolation", time(isolation), isolation ? `${percent(isolation, total)} of the tests' time` : ""),
      fact("Python", of.python, of.platform),
      fact("pytest", of.pytest),
      fact("pytest-berth", of.berth)));
  document.title = byId("header").querySelector("h1").textContent;
}

// Failures.
function traceback(text) {
  const pre = h("pre.traceback", { tabindex: 0 });
  for (const line of text.split("\n")) {
    const kind = line.startsWith("E ") ? "e" : /^>\s|^[^\s:]+:\d+: /.test(line) ? "at" : "";
    pre.append(kind ? h(`span.${kind}`, null, line) : line, "\n");
  }
  return pre;
}

function statements(list, withTest) {
  const body = h("tbody");
  for (const each of list) {
    const plan = each.plan ? h("button.small", { type: "button", "aria-expanded": "false" }, "plan") : null;
    const row = h(each.error ? "tr.wrong" : "tr", null,
      h("td.number", null, time(each.duration)),
      h("td.number.rows", { "data-unit": each.rows === 1 ? "row" : "rows" }, each.rows === null || each.rows === undefined ? "" : count(each.rows)),
      h("td.statement", null, each.text,
        each.parameters.startsWith("[") ? h("span.path", null, each.parameters) : ` ${each.parameters}`,
        each.answer ? h("span.path", null, `→ ${each.answer}`) : null,
        each.error ? h("span.wrong", null, each.error) : null,
        h("span.path", null, [each.phase === "call" ? "" : `in ${each.phase}`, each.at].filter(Boolean).join(", at ")),
        withTest ? h("span.path", null, h("a", { href: `#failure-${each.failure}` }, split(each.nodeid)[1])) : null),
      h("td", null, plan));
    body.append(row);
    if (plan) {
      const below = h("tr", { hidden: "" }, h("td.plan", { colspan: 4 }, h("pre", { tabindex: 0 }, each.plan)));
      plan.addEventListener("click", () => {
        below.hidden = !below.hidden;
        plan.setAttribute("aria-expanded", String(!below.hidden));
      });
      body.append(below);
    }
  }
  return h("div.scroll", null, h("table.statements", null,
    h("thead", null, h("tr", null, h("th.number", { scope: "col" }, "Time"), h("th.number", { scope: "col" }, "Rows"), h("th", { scope: "col" }, "Statement"), h("th"))), body));
}

// The file and line of a failure; the test's file, too, where it comes from another one.
function where(path, at) {
  if (!at) return path;
  return !path || at.startsWith(`${path}:`) ? at : `${path}, at ${at}`;
}

function failure(each, index) {
  const [path, name] = split(each.nodeid);
  const captured = (section) => section.title.startsWith("Captured");
  const own = each.sections.filter((section) => !captured(section));
  const folded = (title, inside) => unfold("fold", null, h("summary", null, title), inside);
  return unfold(`card.failure.${["call", "subtest", "crash"].includes(each.phase) ? "failed" : "error"}`, { id: `failure-${index}` },
    h("summary", null,
      h("div.name", null, h("b", null, breakable(each.phase === "subtest" ? each.title : name || path)), h("div.path", null, breakable(where(path, each.at)))),
      h("div.side", null, [each.phase === "call" ? "" : each.phase === "crash" ? "its worker crashed" : `in ${each.phase}`, run.run.workers.length > 1 ? each.worker : ""].filter(Boolean).join(", ")),
      h("div.message", null, each.message)),
    () => h("div.body", null,
      own.map((section) => [h("h4", null, section.title), h("pre", { tabindex: 0 }, section.text)]),
      each.statements.length ? folded(`${plural(each.statements.length, "statement")} of the test`, () => statements(each.statements)) : null,
      h("h4", null, "Traceback"), traceback(each.longrepr),
      each.sections.filter(captured).map((section) => folded(section.title, () => h("pre", { tabindex: 0 }, section.text)))));
}

function failures() {
  const list = h("div");
  const bar = paged(run.failures, (each) => failure(each, run.failures.indexOf(each)), list, "failure", 50);
  return part("failures", "Failures", "", list, run.failures.length > 50 ? bar : null);
}

function kept() {
  return run.kept.length ? part("kept", "Kept of failed tests", "What these tests have done stays for a while.", h("pre", { tabindex: 0 }, run.kept.join("\n"))) : null;
}

function hints() {
  return run.hints.length ? part("hints", "Hints", "", h("ul.card.hints", null, run.hints.map((each) => h("li", null, each)))) : null;
}

// The waterfall.
function ticks(from, to, room) {
  const rough = (to - from) / Math.max(2, room / 90);
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * size).find((each) => each >= rough);
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(at);
  return found;
}

function waterfall() {
  const events = run.timeline;
  const end = (each) => each.start + each.duration;
  const isPart = (each) => PARTS.has(each.what);
  const isInside = (each, whole) => each.service === whole.service && each.worker === whole.worker
    && (each.what === "step") === (whole.what === "template") && each.start >= whole.start - 0.001 && end(each) <= end(whole) + 0.001;
  const wholes = events.filter((each) => !isPart(each));
  const inside = (whole) => (isPart(whole) ? [] : events.filter((each) => isPart(each) && isInside(each, whole)));
  // A source is chosen before anything is started, and what is missing of the other parts has failed.
  const alone = events.filter((each) => isPart(each) && !wholes.some((whole) => isInside(each, whole)));
  const length = Math.max(run.run.duration, ...wholes.map(end), 0.001);
  const started = Math.min(length, 1.25 * Math.max(0, ...wholes.filter((each) => each.what !== "rebuild").map(end)));
  let to = started && started < length * 0.4 ? started : length;
  // Of what one process did again and again, there is one row.
  const rows = new Map();
  for (const each of [...wholes, ...alone].sort((a, b) => a.start - b.start)) {
    const what = isPart(each) ? (each.what === "step" ? "template" : "start") : each.what;
    const key = `${each.service} ${what}${run.run.workers.length > 1 ? ` · ${each.worker}` : ""}`;
    rows.set(key, [...(rows.get(key) || []), each]);
  }
  const drawing = h("div");
  const buttons = [["Start-up", started], ["Whole run", length]].map(([label, last]) =>
    h("button", { type: "button", "aria-pressed": String(last === to), onclick: (event) => {
      to = last;
      for (const each of event.target.parentNode.children) each.setAttribute("aria-pressed", String(each === event.target));
      draw();
    } }, label));

  function draw() {
    const width = Math.max(260, drawing.clientWidth);
    const narrow = width < 560;
    const label = narrow ? 0 : Math.min(260, width * 0.28);
    const room = width - label - 6;
    const at = (seconds) => label + (Math.min(Math.max(seconds, 0), to) / to) * room;
    const tall = narrow ? 40 : 26;
    const workers = run.run.workers;
    const seen = [...rows].map(([key, each]) => [key, each.filter((one) => one.start < to)]).filter(([, each]) => each.length);
    const height = 24 + (seen.length + workers.length) * tall + 4;
    const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": "What was started, built and tested, and when; the table below says the same" });
    for (const tick of ticks(0, to, room)) {
      svg.append(s("line", { class: "grid", x1: at(tick), x2: at(tick), y1: 18, y2: height }));
      const anchor = at(tick) > width - 30 ? "end" : tick ? "middle" : "start";
      svg.append(s("text", { class: "tick", x: at(tick), y: 12, "text-anchor": anchor }, `${Number(tick.toPrecision(3))} s`));
    }
    let y = 22;
    const bar = (event, x, last, kind, whole) => {
      const made = s("rect", { class: `k-${event.failed ? "failed" : kind}${whole ? " whole" : ""}`, x, y: y + (narrow ? 20 : 6), width: Math.max(last - x, 1.5), height: 14, rx: 3 });
      made.append(s("title", {}, `${event.service}: ${event.what}${event.detail ? ` (${event.detail})` : ""}, ${time(event.duration)}${event.failed ? ", failed" : ""}`));
      svg.append(made);
    };
    const heading = (text) => svg.append(s("text", { x: 0, y: y + (narrow ? 14 : 17) }, text.length * 6.4 > (label || width) - 8 ? `${text.slice(0, Math.floor((label || width) / 6.6))}…` : text));
    for (const [key, each] of seen) {
      heading(key);
      for (const whole of each) {
        const parts = inside(whole);
        bar(whole, at(whole.start), at(end(whole)), whole.what, parts.length > 0);
        for (const one of parts) bar(one, at(one.start), at(end(one)), one.what, false);
      }
      const [first, last] = [at(each[0].start), at(end(each[each.length - 1]))];
      const times = each.filter((one) => !isPart(one)).length;
      const told = `${times > 1 ? `${count(times)} ×, ` : ""}${time(each.reduce((sum, one) => sum + one.duration, 0))}`;
      const isOut = last + 80 < width;
      if (isOut || first > label + 80) svg.append(s("text", { class: "took", x: isOut ? last + 6 : first - 6, y: y + (narrow ? 31 : 17), "text-anchor": isOut ? "start" : "end" }, told));
      y += tall;
    }
    for (const worker of workers) {
      heading(workers.length > 1 ? `tests · ${worker}` : "tests");
      let last = null;
      for (const test of run.tests.filter((each) => each.worker === worker && each.start > 0 && each.start < to).sort((a, b) => a.start - b.start)) {
        const [x, x2] = [at(test.start), at(end(test))];
        if (last && last.outcome === test.outcome && x - last.end < 1) { last.end = Math.max(last.end, x2); last.made.setAttribute("width", Math.max(last.end - last.x, 0.7)); last.count += 1; last.title.textContent = `${last.count} tests ${test.outcome}`; continue; }
        const made = s("rect", { class: `o-${test.outcome}`, x, y: y + (narrow ? 20 : 6), width: Math.max(x2 - x, test.outcome === "passed" ? 0.7 : 1.6), height: 14 });
        const title = s("title", {}, `${test.nodeid}, ${test.outcome}, ${time(test.duration)}`);
        made.append(title);
        svg.append(made);
        last = { outcome: test.outcome, x, end: x2, made, title, count: 1 };
      }
      y += tall;
    }
    drawing.replaceChildren(svg);
  }
  let drawn = 0;
  const fit = () => { if (drawing.clientWidth !== drawn) { drawn = drawing.clientWidth; draw(); } };
  new ResizeObserver(() => requestAnimationFrame(fit)).observe(drawing);

  const kinds = [["choose", "choice of a source"], ["download", "download"], ["start", "start of a server"], ["template", "schema and seeds"], ["clone", "databases"]]
    .filter(([kind]) => events.some((each) => each.what === kind));
  const table = () => h("div.scroll", null, h("table", null,
    h("thead", null, h("tr", null, ["What", "Service", "Process", "Begins at", "Takes", "Of what"].map((each) => h("th", { scope: "col" }, each)))),
    h("tbody", null, events.map((each) => h("tr", null, [each.what + (each.failed ? " (failed)" : ""), each.service, each.worker].map((cell) => h("td", null, cell)),
      h("td.number", null, time(each.start)), h("td.number", null, time(each.duration)), h("td", null, each.detail))))));
  return part("timeline", "What took how long", "Servers start and databases are built beside tests that do not need them yet.",
    h("div.card.waterfall", null,
      h("div.bar", null, h("ul.legend.square", null, kinds.map(([kind, text]) => h("li", null, dot(kind), text)), h("li", null, dot("passed"), "tests")),
        started && started < length ? h("div.switch", { role: "group", "aria-label": "Time that is shown" }, buttons) : null),
      drawing, events.length ? unfold("fold", null, h("summary", null, `The same as a table (${count(events.length)})`), table) : null));
}

// Tests.
function tests() {
  const longest = Math.max(...run.tests.map((each) => each.duration), 0.000001);
  const failing = new Map();
  run.failures.forEach((each, index) => { if (!failing.has(each.nodeid)) failing.set(each.nodeid, index); });
  const off = new Set();
  const SORTS = {
    "slowest first": (a, b) => b.duration - a.duration,
    "most time for isolation": (a, b) => b.isolation_time - a.isolation_time,
    "largest share for isolation": (a, b) => b.isolation_time / (b.duration || 1) - a.isolation_time / (a.duration || 1),
    "in the order of the run": (a, b) => a.start - b.start,
    "by name": (a, b) => a.nodeid.localeCompare(b.nodeid),
  };
  const input = h("input", { type: "search", id: "filter", placeholder: "Filter by name, isolation or worker  ( / )", "aria-label": "Filter by name, isolation or worker", autocomplete: "off", spellcheck: "false" });
  const select = h("select", { id: "sort" }, Object.keys(SORTS).map((each) => h("option", null, each)));
  const chips = OUTCOMES.filter((each) => run.outcomes[each]).map((each) =>
    h("button", { type: "button", "aria-pressed": "false", "data-outcome": each }, dot(each), `${each} ${count(run.outcomes[each])}`));
  const holder = h("div");
  const words = new Map(run.tests.map((test) => [test, `${test.nodeid} ${Object.entries(test.isolation).flat().join(" ")} ${test.worker}`.toLowerCase()]));

  function inside(test) {
    const phases = Object.entries(test.phases).map(([phase, told]) =>
      h("tr", null, h("td", null, phase), h("td", null, told.outcome), h("td.number", null, time(told.duration))));
    return h("div.body", null,
      h("table", null, h("tbody", null, phases, h("tr", null, h("td", null, "of these for isolation"), h("td"), h("td.number", null, time(test.isolation_time))))),
      Object.entries(test.isolation).map(([service, told]) => h("p", null, h("b", null, service), ` ${told}`)),
      h("p.dim", null, `${test.worker}, ${time(test.start)} after the run began${test.reruns ? `, repeated ${test.reruns} times` : ""}`),
      failing.has(test.nodeid) ? h("p", null, h("a", { href: `#failure-${failing.get(test.nodeid)}` }, "How it fails")) : null);
  }

  function row(test) {
    const own = Math.min(test.isolation_time, test.duration);
    const kinds = Object.entries(test.isolation).map(([service, told]) => h("span.tag", null, h("b", null, service), ` ${told.split(":")[0]}`));
    const label = `${time(test.duration)}${own ? `, ${percent(own, test.duration)} of it for isolation` : ""}`;
    return unfold("test", null, h("summary.row", null,
      h("span.outcome", null, dot(test.outcome), test.outcome),
      named(test.nodeid),
      h("span.kinds", null, kinds),
      h("span.time", { role: "img", "aria-label": label, title: label },
        shown(h("span.b-isolation"), (100 * own) / longest), shown(h("span.b-test"), (100 * (test.duration - own)) / longest)),
      h("span.number", null, time(test.duration), own ? h("small", null, `${percent(own, test.duration)} isolation`) : null)), () => inside(test));
  }

  function show() {
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = run.tests.filter((test) => (!off.size || off.has(test.outcome)) && wanted.every((word) => words.get(test).includes(word)));
    const sort = SORTS[select.value];
    found.sort(sort);
    const list = h("div.card", null, h("div.row.head", { "aria-hidden": "true" }, ["Outcome", "Test", "Isolation", "Time"].map((each) => h("span", null, each)), h("span")));
    const bar = paged(found, row, list, "test");
    if (!found.length) list.append(h("p.empty", null, "No test is like that."));
    holder.replaceChildren(list, bar);
  }
  let waiting;
  input.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(show, 120); });
  select.addEventListener("change", show);
  for (const chip of chips) chip.addEventListener("click", () => {
    const each = chip.dataset.outcome;
    if (!off.delete(each)) off.add(each);
    chip.setAttribute("aria-pressed", String(off.has(each)));
    show();
  });
  show();
  return part("tests", "Tests", "", h("div.tools", null, input, h("div.chips", { role: "group", "aria-label": "Outcomes" }, chips), h("label", null, "Sort ", select)),
    h("ul.legend.square", null, h("li", null, dot("isolation"), "isolation"), h("li", null, dot("test"), "set-up, call and teardown")), holder);
}

function slowest() {
  const all = run.failures.flatMap((each, failure) => each.statements.map((one) => ({ ...one, failure, nodeid: each.nodeid })));
  const list = all.sort((a, b) => b.duration - a.duration).slice(0, 25);
  return list.length ? part("statements", "Slowest statements of failing tests", list.some((each) => each.plan) ? "A plan was asked for when its test failed, before anything was cleaned up." : "", h("div.card", null, statements(list, true))) : null;
}

const onlyTables = () => run.tables.every((each) => each.service === "postgres");
function tables() {
  if (!run.tables.length) return null;
  const most = run.tables[0].tests;
  const several = new Set(run.tables.map((each) => each.service)).size > 1;
  return part("tables", onlyTables() ? "Tables most touched" : "Most touched", "How many tests left changes there that had to be put back.",
    h("ol.ranks.card", null, run.tables.map((each) => h("li", null, h("span.mono", null, several ? h("span.dim", null, `${each.service} `) : "", breakable(each.name)),
      h("span.time", { "aria-hidden": "true" }, shown(h("span.b-isolation"), (100 * each.tests) / most)), h("span.number", null, count(each.tests))))));
}

function servers() {
  if (!run.servers.length) return null;
  return part("servers", "Servers", "", h("div.servers", null, run.servers.map((each) => h("div.card.server", null,
    h("h3", null, `${each.service} ${each.version}`, h("span.tag", null, each.source), each.own_of ? h("span.tag", null, `of ${each.own_of} alone`) : null),
    h("p", null, each.started_in ? `ready in ${time(each.started_in)} ` : "", `at ${each.address}`),
    h("p", null, each.detail),
    h("p", null, [each.reason, each.from_snapshot ? "from a snapshot" : "", each.reattached ? "kept by an earlier run" : "", each.restarts ? `in the place of ${plural(each.restarts, "lost server")}` : ""].filter(Boolean).join("; "))))));
}

function follow() {
  if (!location.hash.startsWith("#failure-")) return;
  const more = byId("failures").querySelector(".more button");
  const isThere = () => byId(location.hash.slice(1));
  while (!isThere() && more && !more.hidden) more.click();
  const target = isThere();
  if (target) { target.fill(); target.open = true; target.scrollIntoView(); target.querySelector("summary").focus({ preventScroll: true }); }
}

header();
const parts = [run.failures.length ? failures() : null, kept(), run.tests.length || run.timeline.length ? waterfall() : null, run.tests.length ? tests() : null, slowest(), tables(), hints(), servers()].filter(Boolean);
const numbers = { failures: run.failures.length, tests: run.tests.length, tables: run.tables.length, hints: run.hints.length, servers: run.servers.length };
const labels = { failures: "Failures", kept: "Kept", hints: "Hints", timeline: "Timeline", tests: "Tests", statements: "Statements", tables: onlyTables() ? "Tables" : "Touched", servers: "Servers" };
byId("nav").append(h("ul", null, parts.map((each) => h("li", null, h("a", { href: `#${each.id}` }, labels[each.id], numbers[each.id] ? h("b", null, count(numbers[each.id])) : null)))));
byId("main").append(...parts);
byId("footer").append("Written by pytest-berth; this file needs no network.");
const first = byId("failure-0");
if (first && !location.hash) { first.fill(); first.open = true; }
follow();
addEventListener("hashchange", follow);
addEventListener("keydown", (event) => {
  const filter = byId("filter");
  if (event.key === "/" && filter && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) { event.preventDefault(); filter.focus(); }
});
document.documentElement.dataset.ready = String(Math.round(performance.now()));
})();
