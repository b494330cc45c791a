// Countdowns that tick, times in the reader's zone, and pages that follow what happens. Everything works without.
"use strict";

const UNITS = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
// Clocks of browsers are wrong now and then; the server's is the one that counts.
let ahead = 0;

function humanize(seconds) {
  const parts = [];
  for (const [unit, size] of UNITS) {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    if (count) parts.push(count + unit);
  }
  return parts.slice(0, 2).join(" ") || "0s";
}

function tick() {
  const now = Date.now() + ahead;
  for (const time of document.querySelectorAll("time[data-countdown]")) {
    const rest = Math.round((Date.parse(time.dateTime) - now) / 1000);
    const text = rest > 0 ? `in ${humanize(rest)}` : `${humanize(-rest)} ago`;
    if (time.textContent !== text) time.textContent = text;
  }
}

function localize(root) {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  for (const time of root.querySelectorAll("time[datetime]")) {
    const local = format.format(new Date(time.dateTime));
    if (time.hasAttribute("data-countdown")) time.title = local;
    else { time.title = time.textContent; time.textContent = local; }
  }
}

function isBusy(main) {
  const at = document.activeElement;
  const isTyping = at && main.contains(at) && at.matches("input:not([type=hidden]), select, textarea") && at.value !== at.defaultValue;
  return isTyping || main.querySelector("dialog[open]") !== null || document.getSelection().toString() !== "";
}

async function refresh() {
  const main = document.getElementById("main");
  if (isBusy(main)) return false;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "manual" });
  if (!answer.ok) { if (answer.type === "opaqueredirect") location.reload(); return false; }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
  if (isBusy(main)) return false;
  const open = [...main.querySelectorAll("details[open][id]")].map((one) => one.id);
  const focused = document.activeElement && main.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  main.replaceChildren(...fresh.childNodes);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focused) main.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  localize(main);
  tick();
  return true;
}

function follow() {
  let wanted = false;
  let running = false;
  const again = async () => {
    if (running || !wanted || document.hidden) return;
    running = true;
    wanted = false;
    try { if (!(await refresh())) wanted = true; } catch { wanted = true; }
    setTimeout(() => { running = false; again(); }, 1000);
  };
  const events = new EventSource("/events");
  events.addEventListener("change", () => { wanted = true; again(); });
  events.addEventListener("clock", (event) => { ahead = Date.parse(event.data) - Date.now(); });
  document.addEventListener("visibilitychange", again);
  setInterval(again, 5000);
}

localize(document);
tick();
setInterval(tick, 1000);
if (document.querySelector("main[data-live]")) follow();
