// The dashboard while one looks at it: renews the lists, follows a log, and lets the keyboard do everything.
// The server renders the lists and escapes what is in them; lines of logs are put in as text.

const RENEW = 2000; // milliseconds
const MOST_LINES = 2000;
const $ = (id) => document.getElementById(id);
const lists = $("lists"), filter = $("filter"), log = $("log"), text = $("log-text"), rank = $("rank"), help = $("help");
const csrf = document.querySelector('meta[name="csrf-token"]').content;
let source = null; // of the log that is followed
let shown = null; // the row whose log it is

// -- lists --------------------------------------------------------------------------------------------------------------

const names = (table) => [...table.querySelectorAll("tbody tr:not([hidden]) .name")];

/** One stop for the Tab key in each list: the row that had the focus, else the first. */
function rove() {
  for (const table of lists.querySelectorAll("table")) {
    const all = [...table.querySelectorAll(".name")];
    const visible = names(table);
    const chosen = visible.find((one) => one === document.activeElement) ?? visible.find((one) => one.dataset.stop) ?? visible[0];
    for (const one of all) one.tabIndex = one === chosen ? 0 : -1;
  }
}

function applyFilter() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of lists.querySelectorAll("tbody tr")) {
    const content = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => content.includes(word));
  }
  rove();
}

async function renew() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/flame/v1/overview/html", { headers: { accept: "text/html" } });
    if (answer.status === 401) location.assign("/login");
    if (!answer.ok) throw new Error(`the cluster answered ${answer.status}`);
    const key = document.activeElement?.closest?.("tr")?.dataset.key;
    const scroll = window.scrollY;
    const made = new DOMParser().parseFromString(await answer.text(), "text/html");
    lists.replaceChildren(...made.body.childNodes);
    applyFilter();
    if (key) find(key)?.querySelector(".name").focus({ preventScroll: true });
    window.scrollTo(0, scroll);
    $("live").textContent = `as of ${$("facts").dataset.at}`;
  } catch (error) {
    $("live").textContent = `not renewed: ${error.message}`;
  }
}

const find = (key) => [...lists.querySelectorAll("tr")].find((row) => row.dataset.key === key);

// -- the log ------------------------------------------------------------------------------------------------------------

function open(row) {
  const { kind, name, namespace, replicas } = row.dataset;
  if (kind === "node") return;
  shown = row.dataset.key;
  $("log-title").textContent = kind === "session" ? `Log of session ${row.querySelector(".name").textContent}` : `Log of ${name}`;
  const ranks = kind === "workload" ? Array.from({ length: Math.min(1000, Math.max(1, Number(replicas))) }, (_, at) => `${name}-${at}`) : [];
  rank.replaceChildren(...ranks.map((one) => new Option(one, one)));
  rank.disabled = ranks.length === 0;
  log.hidden = false;
  log.dataset.namespace = namespace ?? "";
  log.dataset.session = kind === "session" ? name : "";
  follow();
  text.focus();
}

function follow() {
  source?.close();
  text.replaceChildren();
  $("log-state").textContent = "reading";
  const session = log.dataset.session;
  const url = session
    ? `/flame/v1/sessions/${encodeURIComponent(session)}/logs/stream`
    : `/flame/v1/workloads/${encodeURIComponent(rank.value)}/logs?namespace=${encodeURIComponent(log.dataset.namespace)}`;
  const mine = (source = new EventSource(url));
  mine.onopen = () => ($("log-state").textContent = "live");
  mine.addEventListener("line", (event) => {
    const line = JSON.parse(event.data);
    add(typeof line === "string" ? line : `${line.at} ${line.task} ${line.stream} ${line.text}`);
  });
  mine.addEventListener("end", () => {
    $("log-state").textContent = "it has ended";
    mine.close();
  });
  mine.onerror = () => {
    $("log-state").textContent = mine.readyState === EventSource.CLOSED ? "there is no log to read now" : "connecting again";
  };
}

function add(line) {
  const atEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 20;
  text.append(document.createTextNode(`${line}\n`));
  while (text.childNodes.length > MOST_LINES) text.firstChild.remove();
  if (atEnd) text.scrollTop = text.scrollHeight;
}

function close() {
  source?.close();
  log.hidden = true;
  (find(shown)?.querySelector(".name") ?? filter).focus();
}

// -- keys ---------------------------------------------------------------------------------------------------------------

const JUMPS = { s: "sessions", w: "workloads", n: "nodes" };

function jump(id) {
  const table = lists.querySelector(`table[data-list="${id}"]`);
  (names(table)[0] ?? $(id)).focus();
}

function move(button, key) {
  const all = names(button.closest("table"));
  const at = all.indexOf(button);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[key];
  const next = all[Math.max(0, Math.min(all.length - 1, to))];
  for (const one of all) delete one.dataset.stop;
  next.dataset.stop = "yes";
  next.focus();
  rove();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const at = event.target;
  if (event.key === "Escape" && !help.open) {
    if (!log.hidden) close();
    else if (filter.value) {
      filter.value = "";
      applyFilter();
    }
    return;
  }
  if (at.matches("input, select, textarea") || help.open) return;
  if (at.matches(".name") && ["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) move(at, event.key);
  else if (event.key === "/") filter.focus();
  else if (event.key === "?") help.showModal();
  else if (event.key === "l" && !log.hidden) text.focus();
  else if (JUMPS[event.key]) jump(JUMPS[event.key]);
  else return;
  event.preventDefault();
});

lists.addEventListener("click", (event) => {
  const row = event.target.closest(".name")?.closest("tr");
  if (row) open(row);
});
filter.addEventListener("input", applyFilter);
$("search").addEventListener("submit", (event) => event.preventDefault());
rank.addEventListener("change", follow);
$("log-close").addEventListener("click", close);
$("help-button").addEventListener("click", () => help.showModal());
$("logout").addEventListener("click", async () => {
  await fetch("/logout", { method: "POST", headers: { "x-csrf-token": csrf } });
  location.assign("/login");
});

applyFilter();
setInterval(renew, RENEW);
document.addEventListener("visibilitychange", renew);
