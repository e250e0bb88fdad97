// Node.js `ws`, as its README shows it (plain), and as those who know it write it (corked): all answers of one turn of the loop
// leave in one write for each socket, and in rooms a frame is made once for all members.
//
//     node node_websocket.js echo|relay PORT plain|corked
'use strict';

const path = require('node:path');
const { Sender, WebSocket, WebSocketServer } = require(require.resolve('ws', {
  paths: [path.join(__dirname, '../../tests/npm')],
}));

const [mode, port, style] = process.argv.slice(2);
const MOST_QUEUED = 64 * 1024 * 1024;
const members = new Set();
const corked = new Set();
let told = []; // frames that the room was told in this turn of the loop

function uncork() {
  for (const socket of corked) socket.uncork();
  corked.clear();
}

function tellRoom() {
  const frames = Buffer.concat(told);
  told = [];
  for (const member of members) {
    member._socket.write(frames);
    if (member.bufferedAmount > MOST_QUEUED) member.terminate();
  }
}

const handlers = {
  plain: {
    echo(client, message) {
      client.send(message, { binary: true });
    },
    relay(client, message) {
      for (const member of members) if (member.readyState === WebSocket.OPEN) member.send(message, { binary: true });
    },
  },
  corked: {
    echo(client, message) {
      const socket = client._socket;
      if (!corked.has(socket)) {
        if (corked.size === 0) setImmediate(uncork);
        corked.add(socket);
        socket.cork();
      }
      client.send(message, { binary: true });
    },
    relay(client, message) {
      if (told.length === 0) setImmediate(tellRoom);
      told.push(...Sender.frame(message, { fin: true, rsv1: false, opcode: 2, mask: false, readOnly: true }));
    },
  },
};
const handle = handlers[style][mode];

const server = new WebSocketServer({
  host: '127.0.0.1', port: Number(port), backlog: 4096, perMessageDeflate: false, maxPayload: 16 * 1024 * 1024,
});
server.on('listening', () => console.log('ready'));
server.on('connection', (client) => {
  if (mode === 'relay') members.add(client);
  client.on('message', (message) => handle(client, message));
  client.on('error', () => {}); // 'close' follows
  client.on('close', () => members.delete(client));
});
