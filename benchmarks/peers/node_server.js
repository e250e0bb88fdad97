// Node.js `net`, as those who know it write it: no delay, messages found with indexOf and handed on as slices without copying,
// all answers of one read (echo) or all that the room was told in one turn (relay) joined to one write for each socket.
//
//     node node_server.js echo|relay PORT
//     node node_server.js policy PORT FILE
'use strict';

const fs = require('node:fs');
const net = require('node:net');

const [mode, port, policyFile] = process.argv.slice(2);
const MOST_QUEUED = 64 * 1024 * 1024;
const REQUEST = '<policy-file-request/>\0';
const policy = policyFile ? Buffer.concat([fs.readFileSync(policyFile), Buffer.alloc(1)]) : null;
const members = new Set();
let told = []; // what the room was told in this turn of the loop

function tellRoom() {
  const bytes = told.length === 1 ? told[0] : Buffer.concat(told);
  told = [];
  for (const member of members) {
    member.write(bytes);
    if (member.writableLength > MOST_QUEUED) member.destroy();
  }
}

const handlers = {
  // `messages` are slices of what was read, each with its zero byte.
  echo(socket, messages) {
    if (!socket.write(messages.length === 1 ? messages[0] : Buffer.concat(messages))) socket.pause();
  },
  relay(socket, messages) {
    if (told.length === 0) setImmediate(tellRoom);
    for (const message of messages) told.push(message);
  },
  policy(socket, messages) {
    if (messages[0].toString('latin1') === REQUEST) socket.end(policy);
    else socket.destroy();
  },
};
const handle = handlers[mode];

function connected(socket) {
  let unfinished = []; // pieces of a message whose zero byte has not come yet
  if (mode === 'relay') members.add(socket);
  socket.on('data', (chunk) => {
    const messages = [];
    let start = 0;
    for (let end; (end = chunk.indexOf(0, start)) !== -1; start = end + 1) {
      let message = chunk.subarray(start, end + 1);
      if (unfinished.length > 0) {
        unfinished.push(message);
        message = Buffer.concat(unfinished);
        unfinished = [];
      }
      messages.push(message);
    }
    if (start < chunk.length) unfinished.push(start === 0 ? chunk : chunk.subarray(start));
    if (messages.length > 0) handle(socket, messages);
  });
  socket.on('drain', () => socket.resume());
  socket.on('error', () => {}); // 'close' follows
  socket.on('close', () => members.delete(socket));
}

net.createServer({ noDelay: true }, connected)
  .listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 }, () => console.log('ready'));
