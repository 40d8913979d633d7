/**
 * A minimal gRPC client over unencrypted HTTP/2, for load only: each connection calls one path. It exists because node:http2
 * takes four times the CPU for a call, which the measured server lacks on a small machine. Do not use it as a real client.
 *
 * It follows RFC 9113 and 7541, and disables HPACK's dynamic table in both directions. So the same field always has the
 * same bytes, and it finds a trailer's grpc-status without decoding HPACK.
 */
import { once } from 'node:events';
import { connect } from 'node:net';

export interface CallListener {
  onData(chunk: Buffer): void;
  /** The gRPC status code; 14 if the call was cut off. */
  onEnd(status: number): void;
}

export interface GrpcConnection {
  /**
   * Queues the call while the server's limit of concurrent calls is reached, or until a lost connection is replaced, as
   * every client does. Returns a function that cancels the call; after that, the listener is not called again.
   */
  call(message: Uint8Array, listener: CallListener): () => void;
  /** How often the server has closed it. */
  readonly lost: number;
}

interface Call {
  readonly message: Uint8Array;
  readonly listener: CallListener;
  /** Undefined while it waits. */
  cancel?: () => void;
}

/** One connection, until it is closed. */
interface Session {
  readonly hasRoom: boolean;
  open(call: Call): void;
}

const frameHeaderBytes = 9;
const [typeData, typeHeaders, typeReset, typeSettings, typePing, typeGoaway, typeWindow] = [0, 1, 3, 4, 6, 7, 8];
const [flagEnd, flagAck, flagEndHeaders] = [1, 1, 4];
const [settingTable, settingPush, settingStreams, settingWindow, settingFrame] = [1, 2, 3, 4, 5];
const errorCancel = 8;
const windowBytesMax = 2 ** 31 - 1;
const windowBytesDefault = 65_535;
// The client sends a window update each time it has received this many bytes.
const windowStepBytes = 2 ** 26;
const statusUnavailable = 14;

// `grpc-status` with its length, in HPACK's Huffman code and as plain text.
const statusNames = [Buffer.from('889acac8b21234da8f', 'hex'), Buffer.from('\x0bgrpc-status')];

export async function openGrpcConnection(
  address: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  localAddress?: string,
): Promise<GrpcConnection> {
  const waiting = new Set<Call>();
  const block = headerBlock(address, path, headers);
  const openWaiting = () => {
    for (const call of waiting) {
      if (session?.hasRoom !== true) return;
      waiting.delete(call);
      session.open(call);
    }
  };
  const onLost = () => {
    lost++;
    session = undefined;
    void openSession({ address, localAddress, block }, openWaiting, onLost).then((another) => {
      session = another;
      openWaiting();
    });
  };
  let lost = 0;
  let session: Session | undefined = await openSession({ address, localAddress, block }, openWaiting, onLost);

  return {
    get lost() {
      return lost;
    },
    call(message, listener) {
      const call: Call = { message, listener };
      waiting.add(call);
      openWaiting();
      return () => {
        if (!waiting.delete(call)) call.cancel?.();
      };
    },
  };
}

/** Calls `onRoom` when waiting calls may fit, and `onLost` when the server has closed the connection. */
async function openSession(
  { address, localAddress, block }: { address: string; localAddress: string | undefined; block: Buffer },
  onRoom: () => void,
  onLost: () => void,
): Promise<Session> {
  const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(address) ?? [];
  const socket = connect({ host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port), localAddress, noDelay: true });
  await once(socket, 'connect');

  const calls = new Map<number, CallListener>();
  let lastId = -1;
  let received = 0;
  // The server's limits: concurrent streams, and bytes on the connection, on a new stream, and in one frame.
  let streamsMax = Number.POSITIVE_INFINITY;
  let window = windowBytesDefault;
  let streamWindow = windowBytesDefault;
  let frameBytesMax = 16_384;
  /** Partly sent requests. */
  const sending = new Map<number, { rest: Buffer; window: number }>();

  let isCorked = false;
  function write(bytes: Buffer): void {
    if (!isCorked) {
      isCorked = true;
      socket.cork();
      // One write for each turn of the event loop.
      setImmediate(() => {
        isCorked = false;
        socket.uncork();
      });
    }
    socket.write(bytes);
  }

  function sendMore(): void {
    for (const [id, request] of sending) {
      while (request.rest.length > 0) {
        const bytes = Math.min(request.rest.length, frameBytesMax, request.window, window);
        if (bytes <= 0) break;
        window -= bytes;
        request.window -= bytes;
        const [part, rest] = [request.rest.subarray(0, bytes), request.rest.subarray(bytes)];
        request.rest = rest;
        write(frame(typeData, rest.length === 0 ? flagEnd : 0, id, part));
      }
      if (request.rest.length === 0) sending.delete(id);
      if (window <= 0) break;
    }
  }

  function end(id: number, status: number): void {
    const listener = calls.get(id);
    calls.delete(id);
    sending.delete(id);
    listener?.onEnd(status);
    onRoom();
  }

  function onFrame(type: number, flags: number, id: number, payload: Buffer): void {
    if (type === typeData) {
      received += payload.length;
      if (received >= windowStepBytes) {
        write(frame(typeWindow, 0, 0, uint32(received)));
        received = 0;
      }
      calls.get(id)?.onData(payload);
      // gRPC ends with trailers.
      if ((flags & flagEnd) !== 0) end(id, statusUnavailable);
    } else if (type === typeHeaders) {
      if ((flags & flagEnd) !== 0) end(id, statusOf(payload));
    } else if (type === typeReset) {
      end(id, statusUnavailable);
    } else if (type === typeWindow) {
      const more = payload.readUInt32BE(0);
      const request = sending.get(id);
      if (id === 0) window += more;
      else if (request !== undefined) request.window += more;
      if (sending.size > 0) sendMore();
    } else if (type === typeSettings && (flags & flagAck) === 0) {
      for (let at = 0; at < payload.length; at += 6) {
        const value = payload.readUInt32BE(at + 2);
        if (payload.readUInt16BE(at) === settingStreams) streamsMax = value;
        if (payload.readUInt16BE(at) === settingWindow) streamWindow = value;
        if (payload.readUInt16BE(at) === settingFrame) frameBytesMax = value;
      }
      write(frame(typeSettings, flagAck, 0));
      onRoom();
    } else if (type === typePing && (flags & flagAck) === 0) {
      write(frame(typePing, flagAck, 0, payload));
    } else if (type === typeGoaway) {
      // A lost connection spoils the measurement anyway, so calls in flight do not matter.
      socket.destroy();
    }
  }

  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (bytes.length >= frameHeaderBytes) {
      const ends = frameHeaderBytes + bytes.readUIntBE(0, 3);
      if (bytes.length < ends) break;
      const id = bytes.readUInt32BE(5) & windowBytesMax;
      onFrame(bytes.readUInt8(3), bytes.readUInt8(4), id, bytes.subarray(frameHeaderBytes, ends));
      bytes = bytes.subarray(ends);
    }
    rest = bytes;
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    onLost();
    for (const listener of calls.values()) listener.onEnd(statusUnavailable);
    calls.clear();
  });

  const settings: [number, number][] = [
    [settingTable, 0],
    [settingPush, 0],
    [settingWindow, windowBytesMax],
    [settingFrame, 2 ** 20],
  ];
  const settingsBytes = settings.map(([name, value]) => Buffer.concat([Buffer.from([0, name]), uint32(value)]));
  write(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'));
  write(frame(typeSettings, 0, 0, Buffer.concat(settingsBytes)));
  write(frame(typeWindow, 0, 0, uint32(windowBytesMax - windowBytesDefault)));

  return {
    get hasRoom() {
      return calls.size < streamsMax && !socket.destroyed;
    },
    open(call) {
      lastId += 2;
      const id = lastId;
      calls.set(id, call.listener);
      call.cancel = () => {
        if (!calls.delete(id)) return;
        sending.delete(id);
        write(frame(typeReset, 0, id, uint32(errorCancel)));
        onRoom();
      };
      const body = Buffer.allocUnsafe(5 + call.message.length);
      body.writeUInt8(0, 0);
      body.writeUInt32BE(call.message.length, 1);
      body.set(call.message, 5);
      const head = frame(typeHeaders, flagEndHeaders, id, block);
      if (body.length <= Math.min(window, streamWindow, frameBytesMax) && sending.size === 0) {
        window -= body.length;
        write(Buffer.concat([head, frame(typeData, flagEnd, id, body)]));
      } else {
        write(head);
        sending.set(id, { rest: body, window: streamWindow });
        sendMore();
      }
    },
  };
}

function frame(type: number, flags: number, id: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.allocUnsafe(frameHeaderBytes + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes.writeUInt8(type, 3);
  bytes.writeUInt8(flags, 4);
  bytes.writeUInt32BE(id, 5);
  bytes.set(payload, frameHeaderBytes);
  return bytes;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function statusOf(block: Buffer): number {
  for (const name of statusNames) {
    const at = block.indexOf(name);
    if (at === -1) continue;
    // The digits are plain text because Huffman coding never makes digits shorter.
    const from = at + name.length + 1;
    return Number(block.toString('latin1', from, from + block.readUInt8(from - 1)));
  }
  throw new Error('A call ended without grpc-status.');
}

/** An integer with a prefix of 7 bits (RFC 7541, 5.1). */
function hpackLength(length: number): Buffer {
  if (length < 127) return Buffer.from([length]);
  const bytes = [127];
  let rest = length - 127;
  for (; rest >= 128; rest >>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}

function headerBlock(authority: string, path: string, headers: Readonly<Record<string, string>>): Buffer {
  const text = (value: string) => Buffer.concat([hpackLength(value.length), Buffer.from(value, 'latin1')]);
  const fields = { 'content-type': 'application/grpc', te: 'trailers', ...headers };
  return Buffer.concat([
    // The static table's `:method: POST`, `:scheme: http`, and the names `:path` and `:authority`.
    Buffer.from([0x83, 0x86, 0x04]),
    text(path),
    Buffer.from([0x01]),
    text(authority),
    ...Object.entries(fields).flatMap(([name, value]) => [Buffer.from([0x00]), text(name), text(value)]),
  ]);
}
