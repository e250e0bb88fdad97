// A gateway with `ws` and `net`: WebSocket in, TCP out, one connection upstream for each client. What comes from upstream is cut
// at zero bytes, so that each frame is one whole message; the frames of one read leave in one write.
//
//     node node_gateway.js PORT UPSTREAM_PORT
'use strict';

const net = require('node:net');
const path = require('node:path');
const { WebSocketServer } = require(require.resolve('ws', { paths: [path.join(__dirname, '../../tests/npm')] }));

const [port, upstreamPort] = process.argv.slice(2).map(Number);
const HIGH_WATER = 64 * 1024;

function lead(client) {
  const upstream = net.connect({ host: '127.0.0.1', port: upstreamPort, noDelay: true });
  let unfinished = []; // pieces of a message whose zero byte has not come yet
  let corked = false;
  client.on('message', (message) => {
    if (!corked) {
      corked = true;
      upstream.cork();
      setImmediate(() => {
        corked = false;
        upstream.uncork();
        if (upstream.writableLength > HIGH_WATER) client.pause();
      });
    }
    upstream.write(message);
  });
  upstream.on('drain', () => client.resume());
  upstream.on('data', (chunk) => {
    const socket = client._socket;
    let start = 0;
    socket.cork();
    for (let end; (end = chunk.indexOf(0, start)) !== -1; start = end + 1) {
      let message = chunk.subarray(start, end + 1);
      if (unfinished.length > 0) {
        message = Buffer.concat([...unfinished, message]);
        unfinished = [];
      }
      client.send(message, { binary: true });
    }
    socket.uncork();
    if (start < chunk.length) unfinished.push(start === 0 ? chunk : chunk.subarray(start));
    if (client.bufferedAmount > HIGH_WATER) {
      upstream.pause();
      socket.once('drain', () => upstream.resume());
    }
  });
  upstream.on('error', () => {}); // 'close' follows
  upstream.on('close', () => client.close(1011));
  client.on('error', () => {}); // 'close' follows
  client.on('close', () => upstream.end());
}

const server = new WebSocketServer({
  host: '127.0.0.1', port, backlog: 4096, perMessageDeflate: false, maxPayload: 16 * 1024 * 1024,
});
server.on('listening', () => console.log('ready'));
server.on('connection', lead);
