// The log of events, deliveries and refused requests. Everything foreign is set as
// text, never as markup.
import { ApiError, get, getBytes, post, query, token } from "./api.js";
import { texts } from "./texts.js";

const language = navigator.language.toLowerCase().startsWith("pt") ? "pt" : "en";
const text = texts[language];
const main = document.getElementById("main");
const pollEvery = 2000;

// el("td", {class: "mono"}, child…) makes an element; children are nodes or texts.
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined));
  return node;
}

const clock = new Intl.DateTimeFormat(language === "pt" ? "pt-BR" : undefined, {
  dateStyle: "short", timeStyle: "medium",
});

const whole = new Intl.NumberFormat(language === "pt" ? "pt-BR" : undefined);

function when(iso) {
  return iso ? el("time", { datetime: iso, title: iso }, clock.format(new Date(iso))) : "";
}

const state = (word, cause) => el("span", { class: `state ${word}` },
  cause ? text.heldFor(text[cause] ?? cause) : text[word] ?? word);

// seconds reads a duration as the API writes it: 1h30m, 250ms.
function seconds(duration) {
  const units = { d: 86400, h: 3600, m: 60, s: 1, ms: 0.001 };
  return [...duration.matchAll(/([\d.]+)(ms|[dhms])/g)].reduce((sum, [, n, unit]) => sum + n * units[unit], 0);
}

// rough rounds a span to its greatest unit.
function rough(span) {
  const [unit, size] = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].find(([, size]) => span >= size) ?? ["second", 1];
  return new Intl.NumberFormat(language === "pt" ? "pt-BR" : "en", { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 0 })
    .format(Math.floor(span / size));
}

const since = iso => rough(Math.max(0, (Date.now() - new Date(iso)) / 1000));

// Names of sources and destinations, asked for once a page.
async function names(kind) {
  const found = new Map();
  for (let iterator = ""; ;) {
    const page = await get(`${kind}${query({ limit: 250, iterator })}`);
    for (const item of page.data) found.set(item.id, item.name);
    if (page.done || !page.iterator) return found;
    iterator = page.iterator;
  }
}

function pretty(bytes) {
  const raw = new TextDecoder().decode(bytes);
  try {
    return JSON.stringify(JSON.parse(raw), null, 2);
  } catch {
    return raw;
  }
}

function pairs(...rows) {
  return el("dl", {}, rows.filter(([, value]) => value !== "" && value !== undefined && value !== null)
    .flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function headerList(headers) {
  return el("pre", {}, (headers ?? []).map(h => `${h.name}: ${h.value}`).join("\n"));
}

function table(columns, rows) {
  return el("div", { class: "wide" }, el("table", {},
    el("thead", {}, el("tr", {}, columns.map(column => el("th", { scope: "col" }, column)))),
    el("tbody", {}, rows)));
}

function row(address, cells) {
  const open = () => { location.hash = address; };
  return el("tr", { tabindex: "0", onclick: open, onkeydown: e => e.key === "Enter" && open() },
    cells.map((cell, i) => el("td", {}, i === 0 ? el("a", { href: address }, cell) : cell)));
}

// list shows a page of a list, follows its newest items and loads older ones.
async function list(view, { path, filter, columns, cells, empty, form }) {
  const rows = el("div");
  const fresh = el("button", { type: "button", hidden: true });
  const older = el("button", { type: "button", hidden: true }, text.more);
  main.replaceChildren(el("h1", {}, text[view]), form ?? "", fresh, rows, el("div", { class: "bar" }, older));
  let items = [];
  let iterator = null;
  const draw = () => {
    rows.replaceChildren(items.length ? table(columns, items.map(cells)) : el("p", { class: "empty" }, Object.values(filter).some(Boolean) ? text.noMatch : empty));
  };
  const load = async (more) => {
    const page = await get(`${path}${query({ ...filter, limit: 50, iterator: more ? iterator : "" })}`);
    items = more ? items.concat(page.data) : page.data;
    iterator = page.iterator;
    older.hidden = page.done;
    fresh.hidden = true;
    draw();
  };
  older.onclick = () => attempt(() => load(true));
  fresh.onclick = () => attempt(() => load(false));
  await load(false);
  return async () => {
    const page = await get(`${path}${query({ ...filter, limit: 50 })}`);
    const changed = JSON.stringify(page.data) !== JSON.stringify(items.slice(0, page.data.length));
    if (!changed) return;
    const known = new Set(items.map(item => item.id));
    const count = page.data.filter(item => !known.has(item.id)).length;
    if (items.length > 50 || rows.matches(":hover") || rows.contains(document.activeElement)) {
      fresh.textContent = text.newer(count);
      fresh.hidden = count === 0;
    } else {
      items = page.data;
      iterator = page.iterator;
      older.hidden = page.done;
      draw();
    }
  };
}

// routed says how many connections wanted an event, and how many could not decide.
function routed(event) {
  const failed = failures(event).length;
  return el("span", {}, whole.format((event.targets ?? []).length), " ",
    failed ? el("span", { class: "state failed" }, text.filtersFailed(failed)) : null);
}

const failures = event => (event.unmatched ?? []).filter(miss => miss.error);

function filterForm(view, fields, filter) {
  return el("form", { class: "filter", onsubmit: e => {
    e.preventDefault();
    location.hash = `#/${view}${query(Object.fromEntries(new FormData(e.target)))}`;
  } }, fields.map(([name, label]) => el("input", { name, placeholder: label, "aria-label": label, value: filter[name] ?? "" })),
  el("button", { type: "submit" }, text.filter));
}

// option names a choice of states: "" for all, "held circuit" for those of one cause.
function option(choice) {
  const [word, cause] = choice.split(" ");
  if (!word) return text.all;
  return cause ? text.heldFor(text[cause]) : text[word];
}

const views = {
  async events(filter) {
    const sources = await names("source");
    return list("events", {
      path: "event", filter, empty: text.noEvents,
      form: filterForm("events", [["type", text.type], ["key", text.key], ["source", text.source], ["text", text.search]], filter),
      columns: [text.time, text.type, text.key, text.source, text.deliveries, text.id],
      cells: event => row(`#/event/${event.id}`, [when(event.receivedAt), event.type, event.key ?? "", sources.get(event.source) ?? event.source,
        routed(event), el("code", {}, event.id)]),
    });
  },

  async deliveries(filter) {
    const destinations = await names("destination");
    const states = ["", "pending", "sending", "succeeded", "failed", "held", "canceled"];
    const causes = ["paused", "circuit", "parked"].map(cause => `held ${cause}`);
    const chosen = [filter.state, filter.cause].filter(Boolean).join(" ");
    const form = el("form", { class: "filter" }, el("select", { "aria-label": text.state, onchange: e => {
      const [state, cause] = e.target.value.split(" ");
      location.hash = `#/deliveries${query({ ...filter, state, cause })}`;
    } }, states.concat(causes).map(s => el("option", { value: s, selected: s === chosen }, option(s)))),
    el("select", { "aria-label": text.destination, onchange: e => {
      location.hash = `#/deliveries${query({ ...filter, destination: e.target.value })}`;
    } }, [["", text.any], ...destinations].map(([id, name]) => el("option", { value: id, selected: id === (filter.destination ?? "") }, name))));
    return list("deliveries", {
      path: "delivery", filter, empty: text.noDeliveries, form,
      columns: [text.time, text.state, text.destination, text.attempts, text.reason],
      cells: d => row(`#/event/${d.event}`, [when(d.createdAt), state(d.state, d.cause), destinations.get(d.destination) ?? d.destination,
        String(d.attempts), el("span", { class: "soft" }, d.reason || d.waits || "")]),
    });
  },

  async refused(filter) {
    const sources = await names("source");
    return list("refused", {
      path: "refused", filter, empty: text.noRefused,
      columns: [text.time, text.source, text.reason, text.explanation],
      cells: r => row(`#/refusal/${r.id}`, [when(r.receivedAt), sources.get(r.source) ?? r.source, el("code", {}, r.reason),
        (r.explanation ?? [])[0] ?? ""]),
    });
  },

  async event(_, id) {
    const [event, bytes, deliveries, sources, connections, destinations] = await Promise.all([
      get(`event/${id}`), getBytes(`event/${id}/payload`), get(`delivery${query({ event: id, limit: 250 })}`),
      names("source"), names("connection"), names("destination"),
    ]);
    const attempts = await Promise.all(deliveries.data.map(d => get(`delivery/${d.id}/attempt`)));
    const verdict = event.verdict.admitted ? text.admitted : event.verdict.verified ? text.verified : text.notVerified;
    main.replaceChildren(
      el("h1", {}, event.type, " ", el("code", { class: "soft" }, event.id)),
      el("div", { class: "story" },
        el("section", {}, el("h2", {}, text.received, " ", when(event.receivedAt)),
          pairs([text.source, sources.get(event.source) ?? event.source], [text.from, event.remote], [verdict, `${text.scheme}: ${event.verdict.scheme}`],
            [text.key, event.key], [text.duplicates, event.duplicates ? text.duplicateTimes(event.duplicates) : ""]),
          el("details", {}, el("summary", {}, text.headers), headerList(event.headers)),
          el("details", { open: true }, el("summary", {}, text.payload), el("pre", {}, pretty(bytes)))),
        failures(event).map(miss => el("section", {},
          el("h2", {}, connections.get(miss.connection) ?? miss.connection, " ", el("span", { class: "state failed" }, text.filterFailed)),
          el("p", {}, el("code", {}, miss.error)))),
        deliveries.data.length === 0 ? el("section", {}, el("p", { class: "soft" }, text.unmatched)) : null,
        deliveries.data.map((d, i) => delivery(d, attempts[i].data ?? attempts[i], destinations))));
    const busy = deliveries.data.some(d => d.state === "pending" || d.state === "sending");
    return busy ? () => views.event(_, id) : null;
  },

  async refusal(_, id) {
    const [refusal, bytes] = await Promise.all([get(`refused/${id}`), getBytes(`refused/${id}/payload`)]);
    const result = el("span", { role: "status" });
    main.replaceChildren(
      el("h1", {}, text.refusedAt, " ", when(refusal.receivedAt), " ", el("code", { class: "soft" }, refusal.id)),
      el("p", { class: "notice bad" }, el("code", {}, refusal.reason)),
      el("h2", {}, text.explanation),
      el("ul", {}, (refusal.explanation ?? []).map(line => el("li", {}, line))),
      refusal.admitted ? el("p", {}, text.became, " ", el("a", { href: `#/event/${refusal.admitted}` }, refusal.admitted))
        : el("div", { class: "bar" }, el("button", { class: "primary", type: "button", onclick: () => attempt(async () => {
          await post(`refused/${id}/admit`);
          await show();
        }, result) }, text.admit), result),
      el("details", {}, el("summary", {}, text.headers), headerList(refusal.headers)),
      el("details", { open: true }, el("summary", {}, text.payload), el("pre", {}, pretty(bytes))));
    return null;
  },
};

function delivery(d, attempts, destinations) {
  const result = el("span", { role: "status" });
  const act = name => () => attempt(async () => {
    await post(`delivery/${d.id}/${name}`);
    result.textContent = text.done;
    await show();
  }, result);
  return el("section", {},
    el("h2", {}, destinations.get(d.destination) ?? d.destination, " ", state(d.state, d.cause)),
    d.reason ? el("p", {}, d.reason) : null,
    pairs([text.waits, d.waits], [text.orderKey, d.orderKey], [text.replay, d.replay]),
    d.nextAttemptAt ? el("p", {}, text.next, ": ", when(d.nextAttemptAt)) : null,
    el("div", { class: "bar" },
      d.state === "sending" ? null : el("button", { type: "button", onclick: act("retry") }, d.state === "pending" ? text.sendNow : text.retry),
      d.state === "pending" || d.state === "held" ? el("button", { type: "button", onclick: act("cancel") }, text.cancel) : null, result),
    attempts.map(a => el("details", {},
      el("summary", {}, `${text.attempt} ${a.number} · ${a.probe ? `${text.probe} · ` : ""}`, when(a.startedAt), ` · ${a.responseStatus || a.error || a.outcome} · ${a.duration}`),
      a.error ? el("p", {}, a.error) : null,
      el("h2", {}, text.request), el("pre", {}, `${a.method ?? ""} ${a.url ?? ""}\n${(a.requestHeaders ?? []).map(h => `${h.name}: ${h.value}`).join("\n")}`),
      el("h2", {}, text.answer), headerList(a.responseHeaders),
      a.responseBody ? el("pre", {}, pretty(Uint8Array.from(atob(a.responseBody), c => c.charCodeAt(0)))) : null)));
}

function signIn(problem) {
  const input = el("input", { name: "token", type: "password", autocomplete: "off", required: true, "aria-label": text.token, placeholder: "mlt_…" });
  main.replaceChildren(el("div", { class: "signin" }, el("h1", {}, text.signinTitle), el("p", { class: "soft" }, text.signinHelp),
    problem ? el("p", { class: "notice bad", role: "alert" }, problem) : null,
    el("form", { onsubmit: e => { e.preventDefault(); token.set(input.value.trim()); show(); } },
      input, el("button", { class: "primary", type: "submit" }, text.enter))));
  input.focus();
}

// attempt runs a step and turns its failure into words where the person looks.
async function attempt(step, place) {
  try {
    await step();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      token.clear();
      signIn(text.badToken);
    } else if (place) {
      place.textContent = error.message;
    } else {
      main.replaceChildren(el("p", { class: "notice bad", role: "alert" }, error instanceof ApiError ? error.message : text.offline));
    }
  }
}

let refresh = null;

async function show() {
  refresh = null;
  document.getElementById("signout").hidden = token.get() === "";
  if (!token.get()) return signIn("");
  const [place, search] = location.hash.replace(/^#\//, "").split("?");
  const [view, id] = place.split("/");
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#/${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const render = Object.hasOwn(views, view) ? views[view] : null;
  if (!render) {
    main.replaceChildren(el("p", { class: "empty" }, text.notFound));
    return;
  }
  await attempt(async () => {
    if (document.getElementById("health").hidden) await health();
    refresh = await render(Object.fromEntries(new URLSearchParams(search)), id);
  });
}

// circuitOf says how a destination is used: a class, and the words for people.
function circuitOf(health) {
  switch (health.circuit.state) {
    case "open": return ["failed", text.circuitOpen];
    case "half-open": return ["sending", text.circuitProbing];
    case "ramp": return ["sending", text.circuitRamp];
  }
  if (health.paused) return ["held", text.paused];
  return health.waiting > 0 && health.stalled ? ["pending", text.growing] : ["succeeded", text.circuitClosed];
}

// card shows one destination: its circuit, what waits and for how long.
function card(health) {
  const [kind, words] = circuitOf(health);
  const facts = [];
  if (health.waiting > 0) {
    facts.push(text.waiting(whole.format(health.waiting)));
    if (health.oldest) facts.push(text.oldest(since(health.oldest)));
    if (health.timeToDrain) facts.push(text.drained(rough(Math.max(1, seconds(health.timeToDrain)))));
  }
  if (health.circuit.probeAt) facts.push(text.probeAt(new Intl.DateTimeFormat(language === "pt" ? "pt-BR" : undefined, { timeStyle: "medium" }).format(new Date(health.circuit.probeAt))));
  return el("a", { class: `card ${kind}`, href: `#/deliveries${query({ destination: health.id })}`,
    title: [health.circuit.reason, health.pauseReason, health.stalled].filter(Boolean).join(" — ") },
  el("b", {}, health.name), el("span", { class: `state ${kind}` }, words), facts.map(fact => el("span", {}, fact)));
}

const cards = 8;

// health shows the destinations at which it is worst.
async function health() {
  const strip = document.getElementById("health");
  const worst = await get(`stats/health${query({ limit: cards, from: new Date(Date.now() - 300000).toISOString() })}`);
  strip.hidden = worst.data.length === 0 || !token.get();
  const focused = strip.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  strip.replaceChildren(...worst.data.map(card), ...worst.done ? [] : [el("span", { class: "soft" }, text.moreDestinations)]);
  if (focused) strip.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
}

// count shows what the last hour brought, from the roll-ups.
async function count() {
  const overview = await get("stats/overview");
  document.getElementById("numbers").textContent = text.lastHour(whole.format(overview.sources.accepted ?? 0), whole.format(overview.destinations.succeeded ?? 0));
}

async function tick() {
  const current = refresh;
  if (current && !document.hidden && token.get()) {
    try {
      await Promise.all([count(), health()]);
      const next = await current();
      if (refresh === current && next !== undefined) refresh = next;
    } catch {
      // The next tick tries again; what is on the page stays.
    }
  }
  setTimeout(tick, pollEvery);
}

function start() {
  document.documentElement.lang = language === "pt" ? "pt-BR" : "en";
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = text[node.dataset.text];
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", text[node.dataset.label]);
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    token.set(given);
    history.replaceState(null, "", "#/events");
  }
  if (!location.hash) history.replaceState(null, "", "#/events");
  document.getElementById("signout").onclick = () => { token.clear(); document.getElementById("numbers").textContent = ""; document.getElementById("health").hidden = true; show(); };
  addEventListener("hashchange", show);
  show();
  setTimeout(tick, pollEvery);
}

start();
