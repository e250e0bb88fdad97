// The chat's messages: XML elements written to text, and read from it.

// What XML 1.0 has no way to write; halves of surrogate pairs are among them.
const FORBIDDEN = /[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu;

function escape(text) {
  return text
    .replace(FORBIDDEN, "")
    .replace(/&/g, "&amp;")
    .replace(/</g, "&lt;")
    .replace(/>/g, "&gt;")
    .replace(/\r\n?/g, "\n");
}

/** Write a request; attributes without a value are left out. */
export function write(tag, attributes = {}, text = "") {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => {
      const escaped = escape(String(value)).replace(/"/g, "&quot;").replace(/\t/g, "&#9;").replace(/\n/g, "&#10;");
      return ` ${name}="${escaped}"`;
    });
  return `<${tag}${written.join("")}>${escape(text)}</${tag}>`;
}

/** Read an answer: its tag, attributes, text and children; null for what is no XML. */
export function read(message) {
  const root = new DOMParser().parseFromString(message, "application/xml").documentElement;
  if (root === null || root.getElementsByTagName("parsererror").length > 0 || root.tagName === "parsererror") return null;
  return describe(root);
}

function describe(element) {
  return {
    tag: element.tagName,
    get: (name) => element.getAttribute(name) ?? "",
    ref: element.getAttribute("ref"),
    text: element.textContent,
    children: Array.from(element.children, describe),
  };
}
