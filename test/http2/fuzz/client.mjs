/** Sends a sequence to a server, cut at random points, and collects what the server answers. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { HeaderDecoder } from '../../../dist/src/http2/header-decoder.js';
import { flag, plainFrame as frame, number, setting, type } from './sequence.mjs';

// Nothing waits for these times unless the server is stuck.
const stuckMs = 60_000;
// After this time without progress, the client permits everything.
const stalledMs = 20;
const windowBytesDefault = 65_535;
const goaway = 7;

/** Returns the answers by stream id. Throws if the server breaks the protocol or does not answer. */
export async function runSequence(port, sequence, random) {
  const connection = new Connection(connect(port, '127.0.0.1'), random);
  try {
    await connection.send(sequence.steps);
    await connection.until(() => connection.hasAnswered(sequence), 'all answers');
    if (random(2) === 0) await connection.end();
    return connection.streams;
  } finally {
    connection.socket.destroy();
  }
}

class Connection {
  streams = new Map();
  pings = [];
  acknowledged = 0;
  #decoder = new HeaderDecoder(10_000_000);
  #received = Buffer.alloc(0);
  #block;
  #control = [];
  #window = windowBytesDefault;
  #initialWindow = windowBytesDefault;
  #hasPermittedAll = false;
  // The server may send this many bytes. A changed window holds for it when it acknowledges SETTINGS.
  #permitted = windowBytesDefault;
  #permittedInitially = windowBytesDefault;
  #sentSettings = [];
  #error;
  #isEnding = false;
  #isClosed = false;

  constructor(socket, random) {
    this.socket = socket;
    this.random = random;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      try {
        this.#read(chunk);
      } catch (error) {
        this.#error ??= error;
      }
    });
    socket.on('error', (error) => {
      this.#error ??= error;
    });
    socket.on('close', () => {
      this.#isClosed = true;
      if (!this.#isEnding) this.#error ??= new Error('The server has closed the connection.');
    });
  }

  async send(steps) {
    await once(this.socket, 'connect');
    let bytes = [];
    const flush = async () => {
      await this.#write(Buffer.concat(bytes));
      bytes = [];
    };
    for (const step of steps) {
      bytes.push(...this.#control.splice(0));
      if (step.dataBytes !== undefined) {
        const permits = () => {
          const { window, isEnded } = this.stream(step.id);
          return isEnded || (step.dataBytes <= window && step.dataBytes <= this.#window);
        };
        if (!permits()) {
          await flush();
          await this.until(permits, `a window for stream ${step.id}`);
        }
        // The client needs not send the rest of a request that was answered.
        if (this.stream(step.id).isEnded) continue;
        this.stream(step.id).window -= step.dataBytes;
        this.#window -= step.dataBytes;
      }
      bytes.push(step.bytes);
      if (step.settings !== undefined) this.#sentSettings.push(step.settings);
      if (step.permitted !== undefined) this.#permit(step.permitted);
      if (this.random(4) === 0) await flush();
    }
    await flush();
  }

  /** Asks the server to close the connection, which it does when no stream is open. */
  async end() {
    this.#isEnding = true;
    this.socket.write(frame(goaway, 0, 0, Buffer.alloc(8)));
    await this.until(() => this.#isClosed, 'the end of the connection');
  }

  async #write(bytes) {
    const cuts = Array.from({ length: this.random(6) }, () => this.random(bytes.length + 1)).sort((a, b) => a - b);
    let at = 0;
    for (const cut of [...cuts, bytes.length]) {
      if (cut > at) this.socket.write(bytes.subarray(at, cut));
      at = cut;
      for (let turns = this.random(4); turns > 0; turns--) await nextTurn();
    }
  }

  /** Waits for a condition. Meanwhile only whole frames are sent. */
  async until(condition, what) {
    const startedMs = performance.now();
    let hasPermittedAll = false;
    while (!condition()) {
      if (this.#error !== undefined) throw this.#error;
      const waitedMs = performance.now() - startedMs;
      if (waitedMs > stuckMs) throw new Error(`The client did not get ${what}: ${this.#summary()}`);
      // Earlier permission may have ended with a later SETTINGS frame of the sequence.
      if (waitedMs > stalledMs && !hasPermittedAll) this.#permitAll();
      hasPermittedAll ||= waitedMs > stalledMs;
      if (this.#control.length > 0) this.socket.write(Buffer.concat(this.#control.splice(0)));
      await delay(1);
    }
  }

  #permitAll() {
    this.acknowledged--;
    this.#control.push(frame(type.settings, 0, 0, setting(4, 2 ** 24)));
    this.#sentSettings.push({ initialWindow: 2 ** 24 });
    if (this.#hasPermittedAll) return;
    this.#hasPermittedAll = true;
    this.#control.push(frame(type.windowUpdate, 0, 0, number(2 ** 28)));
    this.#permit({ id: 0, bytes: 2 ** 28 });
  }

  #permit({ id, bytes }) {
    if (id === 0) this.#permitted += bytes;
    else this.stream(id).permitted += bytes;
  }

  #onData(id, payload) {
    const stream = this.stream(id);
    stream.permitted -= payload.length;
    this.#permitted -= payload.length;
    const initially = Math.max(this.#permittedInitially, ...this.#sentSettings.map((sent) => sent.initialWindow ?? 0));
    if (payload.length > 0 && (this.#permitted < 0 || stream.permitted + initially < 0)) {
      throw new Error(`The server sends more data than a window permits on stream ${id}.`);
    }
    stream.body.push(payload);
  }

  hasAnswered({ calls, pings, settings }) {
    if (this.acknowledged < settings || this.pings.length < pings.length) return false;
    if (pings.join() !== this.pings.join()) throw new Error('The answers to PING differ.');
    return calls.every(({ id, expected }) => expected === undefined || this.stream(id).isEnded);
  }

  stream(id) {
    let stream = this.streams.get(id);
    if (stream === undefined) {
      stream = { window: this.#initialWindow, permitted: 0, lists: [], body: [], isEnded: false };
      this.streams.set(id, stream);
    }
    return stream;
  }

  #summary() {
    const open = [...this.streams].filter(([, { isEnded }]) => !isEnded).map(([id]) => id);
    return `streams ${open.join(' ')} are open, ${this.acknowledged} SETTINGS and ${this.pings.length} PINGs acknowledged`;
  }

  #read(chunk) {
    this.#received = Buffer.concat([this.#received, chunk]);
    while (this.#received.length >= 9) {
      const end = 9 + this.#received.readUIntBE(0, 3);
      if (end > 9 + 16_384) throw new Error('The server sends a frame that is too large.');
      if (this.#received.length < end) return;
      const [kind, flags] = this.#received.subarray(3);
      this.#onFrame(kind, flags, this.#received.readUInt32BE(5), this.#received.subarray(9, end));
      this.#received = this.#received.subarray(end);
    }
  }

  #onFrame(kind, flags, id, payload) {
    if ((this.#block !== undefined) !== (kind === type.continuation)) throw new Error('A header block is interrupted.');
    switch (kind) {
      case type.data:
        this.#onData(id, payload);
        if ((flags & flag.endStream) !== 0) this.#end(id);
        break;
      case type.headers:
      case type.continuation:
        this.#block ??= { parts: [], flags };
        this.#block.parts.push(payload);
        if ((flags & flag.endHeaders) !== 0) this.#onBlock(id);
        break;
      case type.reset:
        this.stream(id).code = payload.readUInt32BE();
        this.#end(id);
        break;
      case type.settings:
        this.#onSettings(flags, payload);
        break;
      case type.ping:
        if ((flags & flag.ack) !== 0) this.pings.push(payload.toString('hex'));
        else this.#control.push(frame(type.ping, flag.ack, 0, payload));
        break;
      case goaway:
        if (this.#isEnding && payload.readUInt32BE(4) === 0) break;
        throw new Error(`The server sends GOAWAY with code ${payload.readUInt32BE(4)} ${payload.subarray(8)}`);
      case type.windowUpdate:
        if (id === 0) this.#window += payload.readUInt32BE();
        else this.stream(id).window += payload.readUInt32BE();
        break;
      default:
        throw new Error(`The server sends a frame of the type ${kind}.`);
    }
  }

  #onBlock(id) {
    const bytes = Buffer.concat(this.#block.parts);
    const stream = this.stream(id);
    if (stream.isEnded) throw new Error(`The server sends HEADERS after the end of stream ${id}.`);
    stream.lists.push(this.#decoder.decode(bytes, 0, bytes.length).fields);
    if ((this.#block.flags & flag.endStream) !== 0) this.#end(id);
    this.#block = undefined;
  }

  #onSettings(flags, payload) {
    if ((flags & flag.ack) !== 0) {
      this.acknowledged++;
      this.#permittedInitially = this.#sentSettings.shift()?.initialWindow ?? this.#permittedInitially;
      return;
    }
    for (let at = 0; at < payload.length; at += 6) {
      if (payload.readUInt16BE(at) !== 4) continue;
      const value = payload.readUInt32BE(at + 2);
      for (const stream of this.streams.values()) stream.window += value - this.#initialWindow;
      this.#initialWindow = value;
    }
    this.#control.push(frame(type.settings, flag.ack, 0));
  }

  #end(id) {
    this.stream(id).isEnded = true;
  }
}

/** Describes the answer of a stream in the way of a call's `expected`. */
export function answerOf({ lists, body, code, isEnded }) {
  if (!isEnded) return undefined;
  if (lists.length === 0) return 'reset';
  const fields = new Map();
  for (const list of lists) for (let at = 0; at < list.length; at += 2) fields.set(list[at], list[at + 1]);
  const httpStatus = fields.get(':status');
  if (httpStatus !== '200') return { httpStatus };
  const status = fields.get('grpc-status') ?? `reset ${code}`;
  return {
    httpStatus,
    status,
    // grpc-js also sends one with the status OK.
    message: status === '0' ? undefined : decodeURIComponent(fields.get('grpc-message') ?? ''),
    echo: fields.get('x-echo'),
    body: Buffer.concat(body).toString('latin1'),
  };
}
