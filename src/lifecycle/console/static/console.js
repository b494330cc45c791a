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
    if (rest <= 0 && time.textContent.startsWith("in ")) document.dispatchEvent(new Event("due"));
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

function isChanged(field) {
  if (field.matches("select")) return [...field.options].some((one, at) => one.selected !== (one.defaultSelected || (at === 0 && !field.querySelector("[selected]"))));
  return field.matches("[type=checkbox], [type=radio]") ? field.checked !== field.defaultChecked : field.value !== field.defaultValue;
}

function isBusy(main) {
  const isTyping = [...main.querySelectorAll("input:not([type=hidden]), select, textarea")].some(isChanged);
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
  const tails = [...main.querySelectorAll(".tail[id]")].map((one) => [one.id, one.scrollTop]);
  main.replaceChildren(...fresh.childNodes);
  if (fresh.dataset.live !== undefined) main.dataset.live = fresh.dataset.live;
  for (const [id, top] of tails) document.getElementById(id)?.scrollTo(0, top);
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
  document.addEventListener("due", () => { wanted = true; });
  document.addEventListener("visibilitychange", again);
  setInterval(() => { wanted ||= document.getElementById("main").dataset.live === "often"; again(); }, 2000);
}

localize(document);
tick();
setInterval(tick, 1000);
if (document.querySelector("main[data-live]")) follow();
