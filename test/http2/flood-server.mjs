/**
 * A gRPC server in a process of its own, so that the load of the clients does not slow it. Uses dist/, which global-setup
 * has compiled. It sends its port, and on request what it holds.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createByteBudget } from '../../dist/src/grpc-server/byte-budget.js';
import { createServer } from '../../dist/src/grpc-server/server.js';

const options = JSON.parse(process.argv[2] ?? '{}');
const budget = createByteBudget(256 * 1024 * 1024);
const server = createServer({ budget, ...options });
const codec = {
  requestSerialize: (bytes) => bytes,
  requestDeserialize: (bytes) => Buffer.from(bytes),
  responseSerialize: (bytes) => bytes,
  responseDeserialize: (bytes) => bytes,
  options: {},
};
const method = (name, requestStream, responseStream) => ({
  path: `/test.Flood/${name}`,
  requestStream,
  responseStream,
  ...codec,
});
const text = (bytes) => Buffer.from(bytes).toString();
const payload = Buffer.alloc(64 * 1024, 'x');

server.add(
  {
    echo: method('Echo', false, false),
    late: method('Late', false, false),
    count: method('Count', true, false),
    send: method('Send', false, true),
  },
  {
    echo: async (request) => request,
    /** Answers with 16,000 bytes after a while, when the client may have stopped reading. */
    async late() {
      await sleep(300);
      return payload.subarray(0, 16_000);
    },
    /** Returns how many messages and bytes the client has sent. */
    async count(requests) {
      let messages = 0;
      let bytes = 0;
      for await (const request of requests) {
        messages++;
        bytes += request.length;
      }
      return Buffer.from(`${messages} ${bytes}`);
    },
    /** The request has the number of messages and their size. */
    async *send(request) {
      const [messages = 0, bytes = 0] = text(request).split(' ').map(Number);
      for (let index = 0; index < messages; index++) {
        // As a store's rows, which arrive in later turns.
        if (index % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
        yield payload.subarray(0, bytes);
      }
    },
  },
);

const port = await server.listen('127.0.0.1:0');
// The CPU time of the turns of the event loop, which a busy machine does not change.
const cpuMs = () => {
  const { user, system } = process.threadCpuUsage?.() ?? process.cpuUsage();
  return (user + system) / 1000;
};
let turns = [];
let lastCpuMs = cpuMs();
setInterval(() => {
  const nowMs = cpuMs();
  turns.push(nowMs - lastCpuMs);
  lastCpuMs = nowMs;
}, 1);

process.on('message', async (message) => {
  if (message === 'turns') {
    process.send(turns);
    turns = [];
    return;
  }
  for (let round = 0; round < 3; round++) {
    globalThis.gc();
    // The server would not collect garbage so often.
    lastCpuMs = cpuMs();
    await sleep(10);
  }
  const { heapUsed, external } = process.memoryUsage();
  process.send({ heapUsed, external, openCalls: server.openCalls, heldBytes: budget.held().total });
});
process.on('disconnect', () => process.exit());
process.send({ port });
