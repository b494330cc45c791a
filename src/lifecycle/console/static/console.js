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

// What was still to come when the page was made is "now" until there is a page of later: the words around it say so.
function tick(root) {
  const now = Date.now() + ahead;
  for (const time of root.querySelectorAll("time[data-countdown]")) {
    const rest = Math.ceil((Date.parse(time.dateTime) - now) / SECOND);
    const isOver = rest <= 0 && !time.textContent.startsWith("in ") && time.textContent !== "now";
    const text = rest > 0 ? `in ${humanize(rest)}` : isOver ? `${humanize(-rest)} ago` : "now";
    if (time.textContent === text) continue;
    time.textContent = text;
    if (text === "now" && root === document) document.dispatchEvent(new Event("due"));
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
  if (field.matches("select")) return field.value !== (field.querySelector("[selected]") ?? field.options[0])?.value;
  const isTicked = field.matches("[type=checkbox], [type=radio]");
  return isTicked ? field.checked !== field.defaultChecked : field.value !== field.defaultValue;
}

function isBusy(main) {
  const isTyping = [...main.querySelectorAll(FIELDS)].some((one) => one === document.activeElement || isChanged(one));
  return isTyping || main.querySelector("dialog[open]") !== null || document.getSelection().toString() !== "";
}

// What two nodes must have in common for one to become the other: a link never turns into another one under a finger.
const LIKENESS = ["id", "data-key", "href", "action", "name", "class", "role"];
const likeness = (node) => [node.nodeName, ...LIKENESS.map((name) => node.getAttribute(name))].join("\n");

const isElement = (node) => node.nodeType === Node.ELEMENT_NODE;

// Makes `old` like `fresh`. What is equal stays: it keeps focus, scroll and what is open, and is not read out again.
function patch(old, fresh) {
  const gone = [...old.attributes].filter(({ name }) => name !== "open" && !fresh.hasAttribute(name));
  for (const { name } of gone) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const left = [...old.childNodes];
  const take = (fits) => left.splice(left.findIndex(fits), left.some(fits) ? 1 : 0)[0];
  const nodes = [...fresh.childNodes];
  // The spaces between elements are all equal, and would pull them out of their order.
  const kept = nodes.map((node) => (isElement(node) ? take((one) => one.isEqualNode(node)) : undefined));
  nodes.forEach((node, at) => {
    if (kept[at]) return;
    const isLike = (one) => isElement(one) && !one.matches(FIELDS) && likeness(one) === likeness(node);
    const like = isElement(node) ? take(isLike) : undefined;
    if (like) patch(like, node);
    kept[at] = like ?? node;
  });
  for (const one of left) one.remove();
  kept.forEach((one, at) => {
    const here = old.childNodes[at];
    if (here?.nextSibling === one) old.append(here); // it comes later now
    else if (here !== one) old.insertBefore(one, here ?? null);
  });
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
  const signal = AbortSignal.timeout(15 * SECOND);
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "manual", signal });
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
const backoff = (failures) => Math.min(30, 2 ** failures) * SECOND * (1 + Math.random());

// A time of day, with its day unless that is today.
function shown(at) {
  const time = { hour: "2-digit", minute: "2-digit", timeZoneName: "short" };
  const isToday = new Date(at).toDateString() === new Date().toDateString();
  return new Intl.DateTimeFormat(undefined, isToday ? time : { day: "numeric", month: "short", ...time }).format(at);
}

function follow(main) {
  const said = document.getElementById("said");
  let source = null, isHeard = false; // the stream, and whether it has said something
  let opening, resting; // the timers of the next attempt to connect, and until the page may be asked for again
  let wanted = false, isAsking = false;
  let failures = 0, losses = 0;
  let heard = Date.now(), right = heard; // when the stream said something last, and when the page was right
  let behind = 0; // since when it may not be

  async function again() {
    if (isAsking || resting || !wanted || document.hidden) return;
    [isAsking, wanted] = [true, false];
    const asked = Date.now();
    behind ||= asked;
    const outcome = await refresh(main).catch(() => "failed");
    isAsking = false;
    failures = outcome === "failed" ? failures + 1 : 0;
    if (outcome === "fresh") [right, behind] = [asked, isHeard ? 0 : behind];
    else wanted = true;
    // What is of one project is refreshed at once; what is of all of them changes all the time, and for everybody.
    const isOfOne = main.dataset.project || main.dataset.live === "often";
    const rest = outcome === "failed" ? backoff(failures) : isOfOne ? SECOND : (3 + 2 * Math.random()) * SECOND;
    resting = setTimeout(() => { resting = undefined; again(); }, rest);
  }

  function want() { wanted = true; again(); }

  function close() {
    clearTimeout(opening);
    source?.close();
    [source, isHeard] = [null, false];
  }

  function lose() {
    close();
    behind ||= Date.now();
    opening = setTimeout(open, backoff(++losses));
    if (losses > 1) want(); // perhaps the session is over; then this leads to signing in
  }

  function open() {
    if (source || document.hidden) return;
    heard = Date.now();
    behind ||= heard;
    source = new EventSource("/events");
    source.addEventListener("error", lose); // a browser gives up after an answer that is not 200, so this is done here
    source.addEventListener("clock", (event) => {
      heard = Date.now();
      ahead = Date.parse(event.data) - heard;
      losses = 0;
      // Nobody told what happened before the stream began, so the page is asked for once more.
      if (!isHeard) { isHeard = true; clearTimeout(resting); resting = undefined; want(); }
      else if (!wanted && !isAsking) { right = heard; behind = 0; }
    });
    source.addEventListener("change", (event) => {
      heard = Date.now();
      const { project } = JSON.parse(event.data);
      if (!main.dataset.project || !project || project === main.dataset.project) want();
    });
  }

  function watch() {
    if (main.dataset.live === "often") wanted = true;
    again();
    // The clock comes each 20 seconds, so nobody is there.
    if (source && Date.now() - heard > 50 * SECOND) { behind ||= heard; lose(); }
    const text = behind && Date.now() - behind > 5 * SECOND ? `Not live: what is shown is of ${shown(right)}` : "";
    if (said.textContent !== text) said.textContent = text;
  }

  document.addEventListener("due", () => { wanted = true; });
  // A browser opens six connections to a server, so a page that nobody sees lets go of its own.
  document.addEventListener("visibilitychange", () => { if (document.hidden) { close(); behind = 0; } else open(); });
  setInterval(watch, 2 * SECOND);
  open();
}

localize(document);
tick(document);
setInterval(() => tick(document), SECOND);
const live = document.querySelector("main[data-live]");
if (live) follow(live);
