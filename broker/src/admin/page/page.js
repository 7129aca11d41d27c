// The page: reads the API, shows what it says. Client strings are set as textContent only; the token lives in
// sessionStorage and goes nowhere but into the Authorization field of requests to this origin.
"use strict";

const API = "/api/v1";
const REFRESH_MS = 5000;
const AUDIT_ROWS = 500;
const $ = (id) => document.getElementById(id);
let scope = "read";
let view = null;
let timer = 0;
let stream = null;
let last = null;
let generation = 0;

const token = () => sessionStorage.getItem("token") || "";
const may = (needed) => ["read", "operate", "admin"].indexOf(scope) >= ["read", "operate", "admin"].indexOf(needed);

class Problem extends Error {}

async function call(method, path, body, signal) {
  const headers = {};
  if (token()) headers.Authorization = `Bearer ${token()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const options = { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) };
  const response = await fetch(API + path, options);
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({ detail: `HTTP ${response.status}` }));
  if (response.status === 401) login();
  throw new Problem(problem.detail);
}
const get = async (path) => (await call("GET", path)).json();

function notice(text) { $("notice").textContent = text || ""; }

// ---- building what is shown

function node(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = String(text);
  if (className) made.className = className;
  return made;
}

function table(target, headings, rows, open) {
  const head = node("thead");
  const line = node("tr");
  for (const heading of headings) line.append(node("th", heading));
  head.append(line);
  const body = node("tbody");
  for (const row of rows) body.append(tableRow(row.cells, open && (() => open(row.item))));
  target.replaceChildren(head, body);
}

function tableRow(cells, open) {
  const line = node("tr");
  for (const cell of cells) {
    const made = node("td");
    if (cell instanceof Node) made.append(cell); else made.textContent = cell === null || cell === undefined ? "-" : String(cell);
    line.append(made);
  }
  if (open) {
    line.className = "open";
    line.tabIndex = 0;
    line.addEventListener("click", open);
    line.addEventListener("keydown", (event) => {
      if (event.target === line && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); open(); }
    });
  }
  return line;
}

const badge = (text, className) => node("span", text, `badge ${className || ""}`);

function button(label, work) {
  const made = node("button", label);
  made.addEventListener("click", (event) => { event.stopPropagation(); work(); });
  return made;
}

function ask(title, text, label) {
  return new Promise((resolve) => {
    const dialog = $("dialog");
    $("dialog-title").textContent = title;
    $("dialog-text").textContent = text;
    $("dialog-do").hidden = !label;
    $("dialog-do").textContent = label || "";
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "do"), { once: true });
    dialog.showModal();
  });
}

async function guarded(work) {
  try { notice(""); await work(); } catch (error) {
    if (error.name === "AbortError") return;
    notice(error instanceof Problem ? error.message : "The broker cannot be reached.");
  }
}

// ---- views

const rate = (now, before, key, seconds) => (before && seconds > 0 ? ((now[key] - before[key]) / seconds).toFixed(1) : "-");

function showStats(stats) {
  const seconds = last ? (stats.uptime_ms - last.uptime_ms) / 1000 : 0;
  const worst = stats.worst_finding;
  const cards = [
    ["Clients", stats.clients],
    ["Connects/s", rate(stats, last, "connects", seconds)],
    ["Messages in/s", rate(stats, last, "messages_received", seconds)],
    ["Messages out/s", rate(stats, last, "messages_sent", seconds)],
    ["Denials/s", rate(stats, last, "denied", seconds)],
    ["Generation", stats.generation],
  ];
  const made = cards.map(([name, value]) => card(name, value));
  made.push(card("Worst finding", worst ? `${worst.code} ${worst.message}` : "none", "wide", worst ? (worst.level === "error" ? "bad" : "warn") : "good"));
  $("numbers").replaceChildren(...made);
  last = stats;
}

function card(name, value, className, valueClass) {
  const made = node("div", undefined, className);
  made.append(node("dt", name), node("dd", value, valueClass));
  return made;
}

async function overview() {
  const { data } = await get("/status");
  table($("listeners"), ["Listener", "Transport", "Bind", "State", "Connections", "PROXY", "Address header"], data.listeners.map((l) => ({
    cells: [l.name, l.transport, l.bind, badge(l.state, l.state === "running" ? "good" : "warn"), l.connections, l.proxy_protocol, l.address_header],
  })));
}

let clientCursor = null;
async function clients(more) {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData($("client-filter"))) if (value) query.set(name, value);
  if (more && clientCursor) query.set("after", clientCursor);
  const { data, meta } = await get(`/clients?${query}`);
  clientCursor = meta.next || null;
  $("client-more").hidden = !clientCursor;
  const rows = data.map((c) => ({ item: c, cells: clientCells(c) }));
  if (more) {
    const body = $("client-table").querySelector("tbody");
    for (const row of rows) body.append(tableRow(row.cells, () => explain(row.item)));
  } else {
    table($("client-table"), ["Client", "User", "Peername", "Socket", "Kind", "Via", "Listener", "Subscriptions", ""], rows, explain);
  }
  const shown = $("client-table").querySelectorAll("tbody tr").length;
  $("client-count").textContent = `${shown} of ${meta.total} clients`;
}

function clientCells(c) {
  const kind = badge(c.kind, c.kind === "proxy" ? "warn" : "good");
  const actions = node("span");
  if (may("operate") && c.connected) {
    actions.append(button("Kick", () => guarded(async () => {
      if (!await ask("Kick this client?", c.clientid, "Kick")) return;
      await call("DELETE", `/clients/${encodeURIComponent(c.clientid)}`);
      await clients(false);
    })));
  }
  return [c.clientid, c.username, c.peername, c.socket, kind, badge(c.via), c.listener, c.subscriptions, actions];
}

function explain(client) {
  return guarded(async () => {
    const { data } = await get(`/clients/${encodeURIComponent(client.clientid)}/peername`);
    await ask(client.clientid, data.text.join("\n"));
  });
}

async function proxies() {
  const { data } = await get("/proxies");
  table($("proxy-table"), ["Listener", "Socket", "Hops", "Client addresses", "Connections", "Trust entry", "Where", "Notes"], data.map((p) => {
    const notes = node("span");
    for (const note of p.notes) notes.append(badge(note, note === "ok" ? "good" : note === "unexpected" ? "bad" : "warn"), " ");
    const socket = node("span", p.socket, p.notes.includes("unexpected") ? "bad" : "");
    return { cells: [p.listener, socket, p.hops.join(" ← "), p.clients, p.connections, p.entry, p.origin, notes] };
  }));
}

async function doctor() {
  const { data } = await get("/doctor");
  const made = data.findings.map((f) => {
    const article = node("article", undefined, f.level === "error" ? "error" : f.level === "warn" ? "warn-level" : "");
    article.append(node("strong", `${f.level.toUpperCase()} ${f.code} `), node("span", f.message));
    for (const snippet of f.snippets || []) article.append(node("pre", snippet));
    return article;
  });
  $("findings").replaceChildren(...(made.length ? made : [node("p", "No findings.", "good")]));
}

async function bans() {
  const { data } = await get("/bans");
  table($("ban-table"), ["What", "Until", "By", "Reason", ""], data.map((b) => {
    const actions = node("span");
    if (may("operate")) {
      actions.append(button("Lift", () => guarded(async () => {
        if (!await ask("Lift this ban?", b.what, "Lift")) return;
        await call("DELETE", `/bans/${encodeURIComponent(b.what)}`);
        await bans();
      })));
    }
    return { cells: [b.what, b.until, b.by, b.reason, actions] };
  }));
  const quota = await get("/quota?limit=20");
  table($("quota-table"), ["Prefix", "Connections", "Pending", "Subscriptions", "Rejected"], quota.data.map((q) => ({
    cells: [q.prefix, q.connections, q.pending, q.subscriptions, q.rejected],
  })));
}

// ---- events: fetch, because EventSource cannot send the Authorization field

async function follow(path, each) {
  if (stream) stream.abort();
  const control = stream = new AbortController();
  const response = await call("GET", path, undefined, control.signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Problem("The stream ended.");
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      let event = "message";
      const data = [];
      for (const line of block.split("\n")) {
        if (line.startsWith("event:")) event = line.slice(6).trim();
        if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
      }
      if (data.length) each(event, JSON.parse(data.join("\n")));
    }
  }
}

function auditRow(record) {
  const client = [record.clientid, record.username].filter((part) => part).join(" / ");
  const address = record.peer_ip ? `${record.peer_ip}:${record.peer_port}` : "";
  const known = ["ts", "v", "seq", "event", "outcome", "reason", "peer_ip", "peer_port", "clientid", "username", "node"];
  const rest = Object.entries(record).filter(([key, value]) => !known.includes(key) && value !== null);
  const text = rest.map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`).join(" ");
  const outcome = badge(record.reason || record.outcome || "", record.outcome === "failure" ? "bad" : "good");
  const line = tableRow([record.ts, record.event, outcome, address, client, text]);
  line.lastChild.className = "wrap";
  return line;
}

async function audit() {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData($("audit-filter"))) if (value) query.set(name, value.replaceAll(" ", ""));
  table($("audit-table"), ["Time", "Event", "Outcome", "Address", "Client", "More"], []);
  const body = $("audit-table").querySelector("tbody");
  const { data } = await get(`/audit?${query}`);
  for (const record of data) body.prepend(auditRow(record));
  await follow(`/events?${query}`, (event, record) => {
    if (event === "stats") return;
    body.prepend(event === "lagged" ? tableRow([`${record.missed} events left out`]) : auditRow(record));
    while (body.children.length > AUDIT_ROWS) body.lastChild.remove();
  });
}

// ---- moving about

const VIEWS = {
  overview: { load: overview, every: true, follow: () => follow("/events?type=stats", (event, data) => event === "stats" && showStats(data)) },
  clients: { load: () => clients(false) },
  proxies: { load: proxies, every: true },
  doctor: { load: doctor, every: true },
  bans: { load: bans },
  audit: { load: audit },
};

function show() {
  const name = VIEWS[location.hash.slice(1)] ? location.hash.slice(1) : "overview";
  clearInterval(timer);
  if (stream) stream.abort();
  stream = null;
  last = null;
  view = VIEWS[name];
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  const mine = ++generation;
  guarded(view.load);
  if (view.follow) guarded(view.follow);
  if (view.every) timer = setInterval(() => { if (mine === generation && !document.hidden) guarded(view.load); }, REFRESH_MS);
}

function login() {
  clearInterval(timer);
  $("login").hidden = false;
  $("leave").hidden = true;
  document.querySelector("main").hidden = true;
  $("token").focus();
}

async function enter() {
  const { data } = await get("/whoami");
  scope = data.scope;
  $("who").textContent = `${data.actor.token || `uid ${data.actor.uid}`} (${scope})`;
  $("login").hidden = true;
  $("leave").hidden = !token();
  $("ban-form").hidden = !may("operate");
  document.querySelector("main").hidden = false;
  show();
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value.trim());
  $("token").value = "";
  guarded(enter);
});
$("leave").addEventListener("click", () => { sessionStorage.removeItem("token"); location.reload(); });
$("client-filter").addEventListener("submit", (event) => { event.preventDefault(); guarded(() => clients(false)); });
$("client-more").addEventListener("click", () => guarded(() => clients(true)));
$("audit-filter").addEventListener("submit", (event) => { event.preventDefault(); guarded(audit); });
$("audit-stop").addEventListener("click", () => { if (stream) stream.abort(); });
$("ban-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const body = Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
  guarded(async () => {
    if (!await ask("Ban, and disconnect whom it meets?", body.what, "Ban")) return;
    await call("POST", "/bans", body);
    form.reset();
    await bans();
  });
});
window.addEventListener("hashchange", () => { show(); document.querySelector("main").focus(); });
guarded(enter);
