// A WebSocket that comes back: it connects, watches over the connection, and connects anew with growing pauses.

const SHORTEST_PAUSE = 500; // milliseconds
const LONGEST_PAUSE = 30_000;
const CONNECT_TIMEOUT = 10_000;
const PING_INTERVAL = 25_000; // nothing was heard for so long: ask
const PONG_TIMEOUT = 10_000; // and if nothing comes even then, the connection is dead
const SUBPROTOCOL = "xmlsocket.text"; // one message is one text frame, without the zero byte

/**
 * States: "idle", "connecting", "open" and "waiting" (until the next attempt).
 * Calls onstate(state, pause), onmessage(text), and ping() when it wants to hear from the server.
 */
export class Link {
  constructor({ onstate, onmessage, ping }) {
    this.state = "idle";
    this.onstate = onstate;
    this.onmessage = onmessage;
    this.ping = ping;
    this.failures = 0;
    this.socket = null;
    this.timer = undefined;
    this.watch = undefined;
    addEventListener("online", () => this.state === "waiting" && this.connect());
    addEventListener("offline", () => this.state === "open" && this.check());
    addEventListener("pageshow", (event) => event.persisted && this.state === "waiting" && this.connect());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.state === "open") this.check(); // timers slept with the page
    });
  }

  /** Connect now, whatever pause there was to be. */
  connect() {
    this.drop();
    const place = new URL(".", location.href);
    place.protocol = place.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(place.href, SUBPROTOCOL);
    this.socket = socket;
    this.change("connecting");
    this.timer = setTimeout(() => this.lose(socket), CONNECT_TIMEOUT);
    socket.onopen = () => {
      if (socket !== this.socket) return;
      clearTimeout(this.timer);
      this.hear();
      this.change("open");
    };
    socket.onmessage = (event) => {
      if (socket !== this.socket) return;
      this.hear();
      this.onmessage(event.data);
    };
    socket.onclose = () => this.lose(socket);
  }

  /** Send; false if there is no connection. */
  send(text) {
    if (this.state !== "open") return false;
    this.socket.send(text);
    return true;
  }

  /** The server has accepted us: the next pause is short again. */
  settle() {
    this.failures = 0;
  }

  /** Give the connection up, and try again after a pause. */
  retry() {
    if (this.socket !== null) this.lose(this.socket);
  }

  /** Close for good. */
  close() {
    this.drop();
    this.failures = 0;
    this.change("idle");
  }

  check() {
    clearTimeout(this.watch);
    const socket = this.socket;
    this.watch = setTimeout(() => this.lose(socket), PONG_TIMEOUT);
    this.ping();
  }

  hear() {
    clearTimeout(this.watch);
    this.watch = setTimeout(() => this.check(), PING_INTERVAL);
  }

  lose(socket) {
    if (socket !== this.socket || socket === null) return;
    this.drop();
    const pause = Math.min(SHORTEST_PAUSE * 2 ** this.failures, LONGEST_PAUSE);
    this.failures += 1;
    // Not all pages of a server that was restarted at the same instant.
    const chosen = pause * (0.75 + Math.random() / 2);
    this.change("waiting", chosen);
    this.timer = setTimeout(() => this.connect(), chosen);
  }

  drop() {
    clearTimeout(this.timer);
    clearTimeout(this.watch);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  change(state, pause = 0) {
    this.state = state;
    this.onstate(state, pause);
  }
}
