"use strict";
// Keeps the page as the server has it: its parts come as events, and only rows that differ are replaced, so that
// focus, selection and scroll positions stay.

const spans = [[86400, "d"], [3600, "h"], [60, "min"]];

function span(seconds) {
  for (const [size, unit] of spans) {
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${Math.max(0, Math.floor(seconds))} s`;
}

function tick() {
  for (const each of document.querySelectorAll("time[data-since]")) {
    const text = span((Date.now() - Date.parse(each.dateTime)) / 1000);
    if (each.textContent !== text) each.textContent = text;
  }
  for (const each of document.querySelectorAll("time[data-moment]")) {
    const text = new Date(each.dateTime).toLocaleString();
    if (each.textContent !== text) each.textContent = text;
  }
}

function isSame(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName
    && (one.nodeType !== Node.ELEMENT_NODE || one.dataset?.key === other.dataset?.key);
}

// Makes the children of `old` those of `fresh`, and keeps each that stays.
function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    // A person has opened it.
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  const keyed = new Map([...old.children].filter((each) => each.dataset?.key).map((each) => [each.dataset.key, each]));
  let place = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const kept = child.dataset?.key ? keyed.get(child.dataset.key) : undefined;
    if (kept && kept !== place) old.insertBefore(kept, place);
    const mine = kept ?? place;
    if (mine && isSame(mine, child)) {
      place = mine.nextSibling;
      if (mine.nodeType === Node.ELEMENT_NODE) morph(mine, child);
      else if (mine.nodeValue !== child.nodeValue) mine.nodeValue = child.nodeValue;
    } else {
      old.insertBefore(document.importNode(child, true), place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function show(parts) {
  for (const [name, html] of Object.entries(parts)) {
    const old = document.getElementById(`part-${name}`);
    if (!old) continue;
    const fresh = new DOMParser().parseFromString(`<section id="part-${name}">${html}</section>`, "text/html");
    const output = old.querySelector(".output");
    const isAtEnd = output && output.scrollTop + output.clientHeight >= output.scrollHeight - 4;
    morph(old, fresh.body.firstElementChild);
    if (isAtEnd) output.scrollTop = output.scrollHeight;
  }
  tick();
}

function follow() {
  const state = document.getElementById("link");
  if (!state) return;
  const stream = new EventSource(`${document.body.dataset.address}?format=live`);
  stream.onopen = () => { state.textContent = ""; };
  stream.onerror = () => { state.textContent = "not live: the dashboard does not answer"; };
  stream.onmessage = (event) => show(JSON.parse(event.data));
  addEventListener("pagehide", () => stream.close());
}

for (const output of document.querySelectorAll(".output")) output.scrollTop = output.scrollHeight;
tick();
setInterval(tick, 1000);
follow();
