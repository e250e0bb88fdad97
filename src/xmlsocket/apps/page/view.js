// What people see. Foreign text goes in as text only, never as markup.

const $ = (id) => document.getElementById(id);
const HUES = 8;
const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** Make an element with properties and children; a child that is text becomes a text node. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function hueOf(name) {
  let hash = 0;
  for (const character of name.toLowerCase()) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return `hue-${hash % HUES}`;
}

export class View {
  constructor({ onchoose, onjoin, ontalk, onagain }) {
    Object.assign(this, { onchoose, onjoin, ontalk, onagain });
    this.log = $("log");
    this.elements = new Map();
    this.shown = null;
    this.ticking = undefined;
    this.log.addEventListener("scroll", () => this.isAtEnd && ($("newest").hidden = true), { passive: true });
    new ResizeObserver(() => this.follows && this.scrollToEnd()).observe(this.log);
    $("newest").addEventListener("click", () => this.scrollToEnd());
    $("text").addEventListener("input", () => this.fitText());
    this.prepareDrawers();
  }

  // The entrance

  showEntrance(sentence = "") {
    $("entrance").hidden = false;
    $("chat").hidden = $("me").hidden = $("skip").hidden = true;
    $("login-error").textContent = sentence;
    $("name").setAttribute("aria-invalid", String(sentence !== ""));
    $("login").querySelector("button").disabled = false;
    if (sentence !== "") $("name").select();
    $("name").focus();
  }

  showWaiting() {
    $("login").querySelector("button").disabled = true;
    $("login-error").textContent = "";
  }

  showChat(name) {
    $("me").replaceChildren("You are ", make("strong", { textContent: name, dir: "auto" }));
    $("entrance").hidden = true;
    $("chat").hidden = $("me").hidden = $("skip").hidden = false;
  }

  // The connection

  showState(state, text, pause = 0) {
    clearInterval(this.ticking);
    $("state").dataset.state = state;
    if ($("state-text").textContent !== text) $("state-text").textContent = text;
    $("retry").hidden = state !== "waiting";
    const countdown = $("countdown");
    countdown.textContent = "";
    if (state !== "waiting") return;
    const end = performance.now() + pause;
    const tick = () => {
      const seconds = Math.ceil((end - performance.now()) / 1000);
      countdown.textContent = seconds > 0 ? `(${seconds} s)` : "";
    };
    tick();
    this.ticking = setInterval(tick, 500);
  }

  // The lists

  showPlaces(conversations, rooms, current) {
    const entry = (conversation, label, choose, note) => {
      const button = make("button", { type: "button" }, make("span", { textContent: label, dir: "auto" }));
      if (conversation !== null && conversation === current) button.setAttribute("aria-current", "true");
      if (conversation?.unseen > 0) {
        button.append(make("span", { className: "count" }, String(conversation.unseen), make("span", { className: "unseen", textContent: " new messages" })));
      } else if (note) {
        button.append(make("span", { className: "quiet", textContent: note }));
      }
      button.addEventListener("click", choose);
      return make("li", {}, button);
    };
    const inside = conversations.of("room");
    const members = new Map(rooms.map((room) => [room.name, room.members]));
    const names = [...inside.map((room) => room.name), ...rooms.map((room) => room.name).filter((name) => conversations.find("room", name) === null)];
    this.fill($("rooms"), names.map((name) => {
      const room = conversations.find("room", name);
      if (room !== null) return entry(room, name, () => this.onchoose(room));
      const count = members.get(name);
      return entry(null, name, () => this.onjoin(name), `join (${count} ${count === 1 ? "person" : "people"})`);
    }));
    const talks = conversations.of("person");
    $("talks-section").hidden = talks.length === 0;
    this.fill($("talks"), talks.map((talk) => entry(talk, talk.name, () => this.onchoose(talk))));
    const elsewhere = conversations.unseen;
    $("elsewhere").hidden = elsewhere === 0;
    $("elsewhere").replaceChildren(String(elsewhere), make("span", { className: "unseen", textContent: " new messages" }));
    document.title = (elsewhere > 0 ? `(${elsewhere}) ` : "") + (current === null ? "Chat" : `${current.title} – Chat`);
  }

  showMembers(conversation, me) {
    const isRoom = conversation.kind === "room";
    const names = isRoom ? conversation.members : [me, conversation.name];
    $("people-title").textContent = isRoom ? `People (${names.length})` : "People";
    $("people-hint").hidden = names.length < 2;
    this.fill($("members"), names.map((name) => {
      const label = make("span", { className: `who ${hueOf(name)}`, textContent: name, dir: "auto" });
      if (name === me) return make("li", {}, label, make("span", { className: "quiet", textContent: " (you)" }));
      const button = make("button", { type: "button" }, make("span", { className: "unseen", textContent: "Talk in private to " }), label);
      button.addEventListener("click", () => this.ontalk(name));
      return make("li", {}, button);
    }));
  }

  /** Replace the entries of a list, and keep the keyboard where it was in it. */
  fill(list, entries) {
    const buttons = () => Array.from(list.querySelectorAll("button"));
    const focused = buttons().indexOf(document.activeElement);
    const text = focused < 0 ? "" : document.activeElement.firstChild.textContent + document.activeElement.querySelector(".who")?.textContent;
    list.replaceChildren(...entries);
    if (focused < 0) return;
    const same = buttons().find((button) => button.firstChild.textContent + button.querySelector(".who")?.textContent === text);
    (same ?? buttons()[Math.min(focused, buttons().length - 1)])?.focus();
  }

  // The log

  get isAtEnd() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
  }

  scrollToEnd() {
    this.log.scrollTop = this.log.scrollHeight;
    $("newest").hidden = true;
    this.follows = true;
  }

  show(conversation, me) {
    const text = $("text");
    if (this.shown !== null) this.shown.draft = text.value;
    this.shown = conversation;
    const kind = conversation.kind === "room" ? "" : "Private: ";
    $("title").replaceChildren(make("span", { className: "kind", textContent: kind }), make("span", { textContent: conversation.name, dir: "auto" }));
    $("leave").textContent = conversation.kind === "room" ? "Leave" : "Close";
    $("text-label").textContent = conversation.kind === "room" ? `Message to the room ${conversation.name}` : `Private message to ${conversation.name}`;
    text.placeholder = conversation.kind === "room" ? `Say something in ${conversation.name}` : `Tell ${conversation.name} something`;
    text.value = conversation.draft;
    this.fitText();
    this.showFault("");
    this.log.setAttribute("aria-busy", "true"); // what is old is not to be read aloud
    this.elements.clear();
    this.log.replaceChildren(...conversation.rows.map((row, index, rows) => this.render(row, rows[index - 1])));
    this.log.setAttribute("aria-busy", "false");
    this.showMembers(conversation, me);
    this.closeDrawers();
    this.scrollToEnd();
  }

  /** Show one more row of the conversation that is shown. */
  append(row, previous, removed, isOwn) {
    const follows = this.isAtEnd || isOwn;
    this.follows = follows;
    this.log.append(this.render(row, previous));
    if (removed !== null) this.elements.get(removed)?.remove();
    this.elements.delete(removed);
    if (follows) this.scrollToEnd();
    else $("newest").hidden = row.kind !== "said";
  }

  render(row, previous) {
    const element = make("li", { className: row.kind });
    this.elements.set(row, element);
    if (row.kind === "said") {
      if (row.isOwn) element.classList.add("own");
      const goesOn = previous?.kind === "said" && previous.from === row.from && row.at - previous.at < 120_000;
      if (goesOn) element.classList.add("goes-on");
      const at = make("time", { dateTime: row.at.toISOString(), title: day.format(row.at), textContent: time.format(row.at) });
      const who = make("span", { className: `who ${hueOf(row.from)}`, textContent: row.from, dir: "auto" });
      element.append(make("span", { className: "by" }, who, " ", at), make("p", { textContent: row.text, dir: "auto" }));
    } else {
      element.append(make("p", { textContent: row.text, dir: "auto" }));
    }
    if (row.again) {
      const button = make("button", { type: "button", textContent: "Send again" });
      button.addEventListener("click", () => {
        button.remove();
        this.onagain(row);
        $("text").focus();
      });
      element.append(button);
    }
    return element;
  }

  // The message being written

  showFault(sentence) {
    $("fault").textContent = sentence;
  }

  fitText() {
    const text = $("text");
    text.style.height = "auto";
    text.style.height = `${Math.min(text.scrollHeight + 2, 160)}px`;
  }

  // The drawers of narrow screens

  prepareDrawers() {
    this.drawers = [["places", "show-places"], ["people", "show-people"]].map(([drawer, button]) => [$(drawer), $(button)]);
    for (const [drawer, button] of this.drawers) {
      button.addEventListener("click", () => {
        const opens = !drawer.classList.contains("open");
        this.closeDrawers();
        drawer.classList.toggle("open", opens);
        button.setAttribute("aria-expanded", String(opens));
        if (opens) drawer.querySelector("button, input")?.focus();
      });
    }
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      for (const [drawer, button] of this.drawers) {
        if (drawer.classList.contains("open")) {
          this.closeDrawers();
          button.focus();
        }
      }
    });
  }

  closeDrawers() {
    for (const [drawer, button] of this.drawers) {
      drawer.classList.remove("open");
      button.setAttribute("aria-expanded", "false");
    }
  }
}
