// An echo client with Node's ws, as people write it: node ws_client.cjs ADDRESS COUNT. Prints what it saw as JSON.
const WebSocket = require("ws");

const [address, count] = process.argv.slice(2);
const socket = new WebSocket(address);
const seen = { messages: [], isBinary: true, isWhole: true, subprotocol: null, code: null };

socket.on("open", () => {
  seen.subprotocol = socket.protocol;
  for (let number = 0; number < Number(count); number++) socket.send(Buffer.from(`message ${number} é😀\0`));
});
socket.on("message", (data, isBinary) => {
  seen.isBinary &&= isBinary;
  seen.isWhole &&= data.indexOf(0) === data.length - 1;
  seen.messages.push(data.subarray(0, -1).toString());
  if (seen.messages.length === Number(count)) socket.close(1000);
});
socket.on("error", (error) => console.error(String(error)));
socket.on("close", (code) => {
  seen.code = code;
  console.log(JSON.stringify(seen));
});
