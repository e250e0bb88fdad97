// What is known of rooms and private talks: who is there, what was said, and what was not seen yet.

const MAX_ROWS = 1000; // of one conversation; a page that stays open for weeks must not grow for ever

/** A room, or what is said between two people; `rows` are what its log shows, oldest first. */
export class Conversation {
  constructor(kind, name) {
    this.kind = kind; // "room" or "person"
    this.name = name;
    this.members = [];
    this.rows = [];
    this.known = new Set();
    this.unseen = 0;
    this.draft = "";
    this.caught = null; // what was said while the history is being fetched
    this.unsettled = []; // own messages whose fate was unknown when the connection was lost
  }

  get title() {
    return this.kind === "room" ? this.name : `Private: ${this.name}`;
  }

  /** Take a row in; the row to remove from the log comes back, if there is one too many. */
  add(row) {
    this.rows.push(row);
    return this.rows.length > MAX_ROWS ? this.rows.shift() : null;
  }

  /** Take in what was said, each message once; false if it was there already. */
  knows(message) {
    // Numbers begin anew when a server does that keeps its history in memory, so the time belongs to it.
    const key = `${message.id} ${message.at}`;
    if (this.known.has(key)) return true;
    this.known.add(key);
    if (this.known.size > 2 * MAX_ROWS) this.known.delete(this.known.values().next().value);
    return false;
  }

  enter(name) {
    if (!this.members.includes(name)) this.members.push(name);
  }

  leave(name) {
    this.members = this.members.filter((member) => member !== name);
  }

  /** Begin to fetch the history: from now on what is said is held back. */
  beginCatchingUp() {
    this.caught = [];
  }

  /** The history is there: what is new of all that came meanwhile, in order. */
  endCatchingUp() {
    const isFirst = this.known.size === 0;
    const caught = (this.caught ?? []).sort((a, b) => a.id - b.id);
    this.caught = null;
    const unknown = caught.filter((message) => !this.knows(message));
    return { messages: unknown, hasGap: !isFirst && unknown.length === caught.length && unknown.length > 0 && unknown[0].id > 1 };
  }
}

/** All conversations by kind and name. */
export class Conversations {
  constructor() {
    this.all = new Map();
  }

  key(kind, name) {
    return `${kind} ${kind === "person" ? name.toLowerCase() : name}`;
  }

  find(kind, name) {
    return this.all.get(this.key(kind, name)) ?? null;
  }

  open(kind, name) {
    const key = this.key(kind, name);
    if (!this.all.has(key)) this.all.set(key, new Conversation(kind, name));
    return this.all.get(key);
  }

  remove(conversation) {
    this.all.delete(this.key(conversation.kind, conversation.name));
  }

  of(kind) {
    return Array.from(this.all.values()).filter((conversation) => conversation.kind === kind);
  }

  get unseen() {
    return Array.from(this.all.values()).reduce((sum, conversation) => sum + conversation.unseen, 0);
  }
}
