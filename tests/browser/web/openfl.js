// OpenFL's XMLSocket, with the same commands as the movies.
const sockets = new Map();
const { Stage } = openfl.display;
const { XMLSocket } = openfl.net;
// Without a stage its events have no frame to be told in.
const stage = new Stage(1, 1, 0xffffff);
document.getElementById("stage").append(stage.element);

function socketOf(name) {
  if (!sockets.has(name)) {
    const socket = new XMLSocket();
    for (const event of ["connect", "close", "ioError", "securityError"]) socket.addEventListener(event, () => report(name, event, ""));
    socket.addEventListener("data", (event) => report(name, "data", event.data));
    sockets.set(name, socket);
  }
  return sockets.get(name);
}

function run(commands) {
  for (const [kind, name, ...rest] of commands) {
    try {
      socketOf(name)[kind](...rest);
    } catch (error) {
      report(name, "throws", error.errorID ?? error);
    }
  }
}

report("", "ready", "");
