// Countdowns that tick, times in the reader's zone, and pages that follow what happens. Everything works without.
"use strict";

const SECOND = 1000;
const UNITS = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
const FIELDS = "input:not([type=hidden]), select, textarea";
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

function tick(root) {
  const now = Date.now() + ahead;
  for (const time of root.querySelectorAll("time[data-countdown]")) {
    const rest = Math.round((Date.parse(time.dateTime) - now) / SECOND);
    const text = rest > 0 ? `in ${humanize(rest)}` : `${humanize(-rest)} ago`;
    if (rest <= 0 && time.textContent.startsWith("in ")) document.dispatchEvent(new Event("due"));
    if (time.textContent !== text) time.textContent = text;
  }
}

function localize(root) {
  // Fields take times in UTC, so each time that is shown names its zone.
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
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
  const isTyping = [...main.querySelectorAll(FIELDS)].some((one) => one === document.activeElement || isChanged(one));
  return isTyping || main.querySelector("dialog[open]") !== null || document.getSelection().toString() !== "";
}

// What two nodes must have in common for one to become the other: a link never turns into another one under a finger.
function likeness(node) {
  const names = ["id", "data-key", "href", "action", "name", "class", "role"];
  return [node.nodeName, ...names.map((name) => node.getAttribute(name))].join("\n");
}

// Makes `old` like `fresh`. What is equal stays: it keeps focus, scroll and what is unfolded, and is not announced again.
function patch(old, fresh) {
  for (const { name } of [...old.attributes]) if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const left = [...old.childNodes];
  const take = (fits) => left.splice(left.findIndex(fits), left.some(fits) ? 1 : 0)[0];
  const nodes = [...fresh.childNodes];
  const kept = nodes.map((node) => take((one) => one.isEqualNode(node)));
  nodes.forEach((node, at) => {
    if (kept[at]) return;
    const isLike = (one) => one.nodeType === Node.ELEMENT_NODE && !one.matches(FIELDS) && likeness(one) === likeness(node);
    const like = node.nodeType === Node.ELEMENT_NODE ? take(isLike) : undefined;
    if (like) patch(like, node);
    kept[at] = like ?? node;
  });
  for (const one of left) one.remove();
  kept.forEach((one, at) => { if (old.childNodes[at] !== one) old.insertBefore(one, old.childNodes[at] ?? null); });
}

function refocus(main, focused) {
  if (document.activeElement === focused) return;
  const name = ["id", "href", "name"].find((one) => focused.hasAttribute(one));
  const same = name && main.querySelector(`${focused.localName}[${name}="${CSS.escape(focused.getAttribute(name))}"]`);
  (focused.isConnected ? focused : same)?.focus({ preventScroll: true });
}

// Shows the page as it is now; returns whether it did. It waits while somebody fills in a form or selects text.
async function refresh(main) {
  if (isBusy(main)) return "busy";
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "manual" });
  if (answer.type === "opaqueredirect") location.reload();
  if (!answer.ok) return "failed";
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
  if (isBusy(main)) return "busy";
  const focused = main.contains(document.activeElement) ? document.activeElement : null;
  localize(fresh);
  tick(fresh);
  patch(main, fresh);
  if (focused) refocus(main, focused);
  return "fresh";
}

// Longer after each failure, and never the same for two browsers.
function backoff(failures) {
  return Math.min(30, 2 ** failures) * SECOND * (1 + Math.random());
}

function follow(main) {
  const said = document.getElementById("said");
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
  let source = null;
  let isFirst = true; // the page is as new as the first stream
  let opening; // the timer of the next attempt to connect
  let resting; // the timer until the page may be asked for again
  let wanted = false;
  let isAsking = false;
  let failures = 0;
  let losses = 0;
  let heard = Date.now();
  let right = Date.now(); // the page was right then
  let behind = 0; // since when it may not be

  async function again() {
    if (isAsking || resting || !wanted || document.hidden) return;
    isAsking = true;
    wanted = false;
    const outcome = await refresh(main).catch(() => "failed");
    isAsking = false;
    failures = outcome === "failed" ? failures + 1 : 0;
    if (outcome === "fresh") { right = Date.now(); if (source) behind = 0; }
    else { wanted = true; behind ||= Date.now(); }
    // What is of one project is refreshed at once; what is of all of them changes all the time, and for everybody.
    const isOfOne = main.dataset.project || main.dataset.live === "often";
    const rest = outcome === "failed" ? backoff(failures) : isOfOne ? SECOND : (3 + 2 * Math.random()) * SECOND;
    resting = setTimeout(() => { resting = undefined; again(); }, rest);
  }

  function want() {
    wanted = true;
    again();
  }

  function close() {
    clearTimeout(opening);
    source?.close();
    source = null;
  }

  function lose() {
    close();
    isFirst = false;
    behind ||= Date.now();
    opening = setTimeout(open, backoff(++losses));
    if (losses > 1) want(); // perhaps the session is over; then this leads to signing in
  }

  function open() {
    if (source || document.hidden) return;
    heard = Date.now();
    const mine = source = new EventSource("/events");
    let isNew = true;
    mine.addEventListener("error", lose); // a browser gives up after an answer that is not 200, so this is done here
    mine.addEventListener("clock", (event) => {
      heard = Date.now();
      ahead = Date.parse(event.data) - heard;
      if (isNew && !isFirst) { clearTimeout(resting); resting = undefined; want(); }
      else if (!wanted) { right = heard; behind = 0; }
      isNew = isFirst = false;
      losses = 0;
    });
    mine.addEventListener("change", (event) => {
      heard = Date.now();
      const { project } = JSON.parse(event.data);
      if (!main.dataset.project || !project || project === main.dataset.project) want();
    });
  }

  function watch() {
    if (main.dataset.live === "often") wanted = true;
    again();
    if (source && Date.now() - heard > 50 * SECOND) lose(); // the clock comes each 20 seconds, so nobody is there
    const text = behind && Date.now() - behind > 5 * SECOND ? `Not live: what is shown is of ${clock.format(right)}` : "";
    if (said.textContent !== text) said.textContent = text;
  }

  document.addEventListener("due", () => { wanted = true; });
  // A browser opens six connections to a server, so a page that nobody sees lets go of its own.
  document.addEventListener("visibilitychange", () => { if (document.hidden) { close(); isFirst = false; behind = 0; } else open(); });
  setInterval(watch, 2 * SECOND);
  open();
}

localize(document);
tick(document);
setInterval(() => tick(document), SECOND);
const live = document.querySelector("main[data-live]");
if (live) follow(live);
