// What the sockets of a page have told, by the socket's name: lists of "event text".
window.events = {};
window.isReady = false;

function report(name, event, text) {
  if (event === "ready") window.isReady = true;
  else (window.events[name] ??= []).push([event, String(text)]);
}

/** Wait until a socket has told that much, and give it away. */
async function take(name, count) {
  while ((window.events[name] ?? []).length < count) await new Promise((done) => setTimeout(done, 4));
  return window.events[name].splice(0, count);
}

function peek(name) {
  return window.events[name] ?? [];
}
