// The chat: what the server says becomes rooms and talks, and what people do becomes requests.

import { Conversations } from "./conversations.js";
import { Link } from "./link.js";
import { read, write } from "./protocol.js";
import { View } from "./view.js";

const $ = (id) => document.getElementById(id);
const HISTORY = 500; // messages to ask for; the server may give fewer
const NAME_ATTEMPTS = 8; // after a lost connection the server may take our old one for alive for a while
const ROOMS_INTERVAL = 20_000;
const HISTORY_PAUSE = 1000; // until it is asked for again, where it could not be told

class Chat {
  constructor() {
    this.name = "";
    this.firstRoom = "";
    this.isIn = false; // has been logged in since the name was given
    this.isReady = false; // is logged in now
    this.nameAttempts = 0;
    this.conversations = new Conversations();
    this.rooms = [];
    this.current = null;
    this.asked = new Map(); // by ref: what to do with an answer or an error
    this.lastRef = 0;
    this.view = new View({
      onchoose: (conversation) => this.choose(conversation),
      onjoin: (room) => this.join(room),
      ontalk: (name) => this.choose(this.conversations.open("person", name)),
      onagain: (row) => this.say(row.again.conversation, row.again.text),
    });
    this.link = new Link({
      onstate: (state, pause) => this.changeState(state, pause),
      onmessage: (message) => this.take(message),
      ping: () => this.link.send(write("ping")),
    });
  }

  // Requests

  ask(tag, attributes, text, { done = () => {}, refused = (error) => this.note(this.current, error.text, "fault"), ...more } = {}) {
    const ref = String((this.lastRef += 1));
    if (!this.link.send(write(tag, { ...attributes, ref }, text))) return false;
    this.asked.set(ref, { done, refused, ...more });
    return true;
  }

  enter(name, room) {
    this.name = name;
    this.firstRoom = room;
    this.isIn = false;
    this.view.showWaiting();
    this.link.connect();
  }

  login() {
    this.ask("login", { name: this.name }, "", {
      done: (answer) => this.welcome(answer.get("name")),
      refused: (error) => this.refuseLogin(error),
    });
  }

  welcome(name) {
    this.link.settle();
    this.isReady = true;
    this.nameAttempts = 0;
    this.name = name;
    this.view.showState("open", "Connected");
    this.view.showFault("");
    remember("name", name);
    if (!this.isIn) {
      this.isIn = true;
      this.view.showChat(name);
      this.join(this.firstRoom);
    } else {
      for (const room of this.conversations.of("room")) this.join(room.name, false);
      for (const talk of this.conversations.of("person")) this.reportUnsettled(talk);
    }
    this.askForRooms();
  }

  refuseLogin(error) {
    this.nameAttempts += 1;
    const mayPass = ["name-taken", "unavailable"].includes(error.get("code")); // our old connection, or the broker
    if (this.isIn && mayPass && this.nameAttempts < NAME_ATTEMPTS) {
      this.link.retry();
      return;
    }
    this.leaveAll();
    this.view.showEntrance(error.text || "The server did not accept the name.");
  }

  leaveAll() {
    this.link.close();
    this.isIn = false;
    this.conversations = new Conversations();
    this.current = null;
    this.view.shown = null;
  }

  askForRooms() {
    if (!this.isReady) return;
    this.ask("rooms", {}, "", {
      done: (answer) => {
        this.rooms = answer.children.map((room) => ({ name: room.get("name"), members: Number(room.get("members")) }));
        this.refresh();
      },
    });
  }

  join(name, chooses = true) {
    const isSent = this.isReady && this.ask("join", { room: name }, "", {
      done: (answer) => this.joined(answer, chooses),
      refused: (error) => this.refuseJoin(name, error),
    });
    if (!isSent) this.view.showFault("You are not connected, so no room can be joined now.");
  }

  joined(answer, chooses) {
    const room = this.conversations.open("room", answer.get("room"));
    room.members = answer.children.map((member) => member.get("name"));
    this.askForHistory(room);
    if (chooses) this.choose(room);
    else this.refresh();
  }

  askForHistory(room) {
    room.beginCatchingUp();
    this.ask("history", { room: room.name, limit: HISTORY }, "", {
      done: () => this.catchUp(room),
      refused: (error) => {
        const comesLater = error.get("code") === "unavailable"; // otherwise nothing was ever said here
        this.catchUp(room, !comesLater);
        if (comesLater) setTimeout(() => this.askAgain(room), HISTORY_PAUSE);
      },
    });
  }

  askAgain(room) {
    const isOpen = this.conversations.find("room", room.name) === room;
    if (isOpen && this.isReady && room.caught === null) this.askForHistory(room);
  }

  refuseJoin(name, error) {
    const room = this.conversations.find("room", name);
    if (room !== null) this.note(room, `You could not come back into this room. ${error.text}`, "fault");
    else if (this.current !== null) this.view.showFault(error.text);
    else {
      this.leaveAll();
      this.view.showEntrance(error.text);
    }
  }

  catchUp(room, isWhole = true) {
    const { messages, hasGap } = room.endCatchingUp();
    if (hasGap) this.note(room, "Some messages before these were missed.");
    for (const message of messages) this.show(room, message);
    // What we said just before the connection was lost may have arrived; only the history tells.
    if (isWhole) room.unsettled = room.unsettled.filter((text) => !messages.some((message) => message.isOwn && message.text === text));
    if (isWhole) this.reportUnsettled(room);
    this.refresh();
  }

  reportUnsettled(conversation) {
    const sentence = conversation.kind === "room" ? "This did not arrive" : "This may not have arrived";
    for (const text of conversation.unsettled.splice(0)) {
      this.note(conversation, `${sentence}: ${text}`, "fault", { conversation, text });
    }
  }

  /** Say something; false if there is no connection. */
  say(conversation, text) {
    const refused = (error) => this.note(conversation, `${error.text} You wrote: ${text}`, "fault", { conversation, text });
    const own = { conversation, text };
    const isSent = conversation.kind === "room"
      ? this.ask("say", { room: conversation.name }, text, { refused, own })
      : this.ask("tell", { to: conversation.name }, text, { refused, own });
    if (!isSent) this.note(conversation, `This was not sent, as there is no connection: ${text}`, "fault", own);
    return isSent;
  }

  leave(conversation) {
    if (conversation.kind === "room") this.ask("leave", { room: conversation.name });
    this.forget(conversation);
  }

  forget(conversation) {
    this.conversations.remove(conversation);
    if (conversation !== this.current) return this.refresh();
    const next = this.conversations.of("room")[0] ?? this.conversations.of("person")[0];
    this.view.shown = null;
    this.current = null;
    if (next) this.choose(next);
    else {
      this.leaveAll();
      this.view.showEntrance();
    }
  }

  // What the server says

  take(message) {
    const answer = read(message);
    if (answer === null) return;
    const asked = answer.ref === null ? undefined : this.asked.get(answer.ref);
    this.asked.delete(answer.ref);
    if (answer.tag === "error") return asked ? asked.refused(answer) : this.note(this.current, answer.text, "fault");
    this[`take_${answer.tag}`]?.(answer);
    asked?.done(answer);
  }

  take_said(answer) {
    const room = this.conversations.find("room", answer.get("room"));
    if (room === null) return;
    const message = this.messageOf(answer);
    if (room.caught !== null) room.caught.push(message);
    else if (!room.knows(message)) this.show(room, message);
  }

  take_told(answer) {
    const message = this.messageOf(answer);
    this.show(this.conversations.open("person", message.isOwn ? answer.get("to") : message.from), message);
  }

  messageOf(answer) {
    const from = answer.get("from");
    return { kind: "said", id: Number(answer.get("id")), from, at: new Date(answer.get("at")), text: answer.text, isOwn: from === this.name };
  }

  take_entered(answer) {
    this.move(answer, (room, name) => room.enter(name), "came in");
  }

  take_left(answer) {
    if (answer.get("name") !== this.name) this.move(answer, (room, name) => room.leave(name), "left");
  }

  /** What a server of several tells a room of itself: it is cut off from the others, or with them again. */
  take_notice(answer) {
    const room = this.conversations.find("room", answer.get("room"));
    if (answer.get("code") === "cut-off") this.view.showState("cut-off", "Connected, but cut off from other servers");
    if (answer.get("code") === "reconnected") {
      this.view.showState("open", "Connected");
      this.askForRooms();
    }
    if (room !== null && answer.text !== "") this.note(room, answer.text);
  }

  move(answer, change, verb) {
    const room = this.conversations.find("room", answer.get("room"));
    if (room === null) return;
    change(room, answer.get("name"));
    this.note(room, `${answer.get("name")} ${verb}.`);
    this.refresh();
  }

  // What is seen

  show(conversation, message) {
    const isSeen = conversation === this.current && !document.hidden;
    if (!isSeen && !message.isOwn) conversation.unseen += 1;
    this.add(conversation, message);
    this.refreshPlaces();
  }

  note(conversation, text, kind = "note", again = null) {
    if (conversation !== null) this.add(conversation, { kind, text, again });
  }

  add(conversation, row) {
    const previous = conversation.rows.at(-1);
    const removed = conversation.add(row);
    if (conversation === this.current) this.view.append(row, previous, removed, row.isOwn);
  }

  choose(conversation) {
    this.current = conversation;
    conversation.unseen = 0;
    this.view.show(conversation, this.name);
    this.refreshPlaces();
    history.replaceState(null, "", conversation.kind === "room" ? `#${encodeURIComponent(conversation.name)}` : " ");
    $("text").focus();
    this.askForRooms();
  }

  refresh() {
    this.refreshPlaces();
    if (this.current !== null) this.view.showMembers(this.current, this.name);
  }

  refreshPlaces() {
    this.view.showPlaces(this.conversations, this.rooms, this.current);
  }

  changeState(state, pause) {
    this.isReady = false;
    const texts = {
      idle: "Not connected",
      connecting: this.isIn ? "Connecting again …" : "Connecting …",
      open: "Logging in …",
      waiting: this.isIn ? "The connection is lost. Trying again." : "The server does not answer. Trying again.",
    };
    this.view.showState(state === "open" ? "connecting" : state, texts[state], pause);
    if (state === "waiting" || state === "idle") this.giveUpAsked();
    if (state === "open") this.login();
  }

  /** The connection is gone, and with it the answers to what was asked. */
  giveUpAsked() {
    for (const { own } of this.asked.values()) own?.conversation.unsettled.push(own.text);
    this.asked.clear();
    for (const room of this.conversations.of("room")) room.caught = null;
  }
}

/** Keep a value for the next visit, where the browser lets us. */
function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Private windows and strict settings forbid it; then it has to be typed again.
  }
}

function recall(key) {
  try {
    return localStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

function roomOfAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

function start() {
  const chat = new Chat();
  const text = $("text");
  $("login").addEventListener("submit", (event) => {
    event.preventDefault();
    chat.enter($("name").value.trim(), $("room").value.trim());
  });
  $("join").addEventListener("submit", (event) => {
    event.preventDefault();
    chat.join($("join-room").value.trim());
    $("join-room").value = "";
  });
  $("say").addEventListener("submit", (event) => {
    event.preventDefault();
    if (text.value === "" || chat.current === null) return;
    if (!chat.isReady) {
      chat.view.showFault("You are not connected. Your text stays here until you are.");
      return;
    }
    chat.view.showFault("");
    chat.say(chat.current, text.value);
    text.value = "";
    chat.view.fitText();
    text.focus();
  });
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    $("say").requestSubmit();
  });
  $("leave").addEventListener("click", () => chat.leave(chat.current));
  $("retry").addEventListener("click", () => chat.link.connect());
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || chat.current === null) return;
    chat.current.unseen = 0;
    chat.refreshPlaces();
  });
  setInterval(() => {
    if (!document.hidden) chat.askForRooms();
  }, ROOMS_INTERVAL);
  $("room").value = roomOfAddress() || "lobby";
  $("name").value = recall("name");
  chat.view.showEntrance();
}

start();
