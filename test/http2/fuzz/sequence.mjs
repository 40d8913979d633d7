/** Random sequences of frames of a client, all valid but for single malformed calls, and what servers answer to them. */
import { RandomEncoder } from './random-encoder.mjs';

export const flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 0x20 };
export const type = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  windowUpdate: 8,
  continuation: 9,
};
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const cancel = 8;
const payloadBytesMax = 16_384;

export function plainFrame(type, flags, id, payload = Buffer.alloc(0)) {
  const bytes = Buffer.alloc(9 + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes.writeUIntBE(type * 256 + flags, 3, 2);
  bytes.writeUInt32BE(id, 5);
  payload.copy(bytes, 9);
  return bytes;
}

/** Flags that a type of frame does not define, which receivers ignore (RFC 9113, section 4.1). */
const undefinedFlags = {
  [type.data]: 0xf6,
  [type.headers]: 0xd2,
  [type.priority]: 0xff,
  [type.reset]: 0xff,
  [type.settings]: 0xfe,
  [type.ping]: 0xfe,
  [type.windowUpdate]: 0xff,
  [type.continuation]: 0xfb,
};

export function number(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export const setting = (id, value) => Buffer.concat([Buffer.of(0, id), number(value)]);

const messageOf = (text) => Buffer.concat([Buffer.of(0), number(Buffer.byteLength(text)), Buffer.from(text)]);

/** Changes of a request's fields after which it is malformed (RFC 9113, section 8.1.1). */
const malformed = [
  (fields) => fields.concat([['X-Upper', 'value']]),
  (fields) => fields.concat([[':path', '/']]),
  (fields) => fields.filter(([name]) => name !== ':path'),
  (fields) => fields.filter(([name]) => name !== ':scheme'),
  (fields) => fields.filter(([name]) => name !== ':method'),
  (fields) => [[':path', '/'], ...fields],
  (fields) => [[':status', '200'], ...fields],
  (fields) => fields.concat([['connection', 'close']]),
  (fields) => fields.concat([['transfer-encoding', 'chunked']]),
  (fields) => fields.concat([['te', 'gzip']]),
  (fields) => fields.concat([['content-length', '1000000']]),
  (fields) => fields.concat([['content-length', 'none']]),
];

/**
 * Returns the steps of a client and the calls that they contain. A step is the bytes that nothing may interrupt, and what
 * they change for the windows of both sides. A call has the answer that it must get; undefined means any.
 */
export function createSequence(random, callsMax) {
  const frame = (type, flags, id, payload) => {
    const more = random(4) === 0 ? random(256) & (undefinedFlags[type] ?? 0) : 0;
    return plainFrame(type, flags | more, id, payload);
  };
  const encoder = new RandomEncoder(random);
  const steps = [];
  const calls = [];
  const pings = [];
  let settings = 0;
  const pick = (list) => list[random(list.length)];
  // More than the windows that a client permits at first.
  const isLarge = random(5) === 0;
  const waiting = Array.from({ length: 1 + random(callsMax) }, () => createCall(random, isLarge));

  const open = [];

  const padding = () => (random(3) === 0 ? random(pick([1, 10, 256])) : undefined);
  /** Adds padding to a payload, or none. */
  const pad = (payload) => {
    const length = padding();
    if (length === undefined) return { flags: 0, padded: payload };
    return { flags: flag.padded, padded: Buffer.concat([Buffer.of(length), payload, Buffer.alloc(length)]) };
  };

  function pushHeaders(id, fields, endStream) {
    const block = encoder.encode(fields);
    const count = random(3) === 0 ? random(5) : 0;
    const cuts = [
      0,
      ...Array.from({ length: count }, () => random(block.length + 1)).sort((a, b) => a - b),
      block.length,
    ];
    const parts = cuts.slice(1).map((cut, index) => block.subarray(cuts[index], cut));
    const frames = parts.map((part, index) => {
      const end = index === parts.length - 1 ? flag.endHeaders : 0;
      if (index > 0) return frame(type.continuation, end, id, part);
      const hasPriority = random(4) === 0;
      const priority = hasPriority ? Buffer.concat([number(id - 1), Buffer.of(random(256))]) : Buffer.alloc(0);
      const { flags, padded } = pad(Buffer.concat([priority, part]));
      const all = flags | end | (endStream ? flag.endStream : 0) | (hasPriority ? flag.priority : 0);
      return frame(type.headers, all, id, padded);
    });
    steps.push({ bytes: Buffer.concat(frames) });
  }

  function start(call) {
    const id = 2 * calls.length + 1;
    calls.push({ ...call, id });
    const isEmpty = call.body.length === 0;
    const endsWithHeaders = isEmpty && random(2) === 0;
    pushHeaders(id, call.fields, endsWithHeaders);
    if (!endsWithHeaders) open.push({ ...call, id, at: 0 });
  }

  /** Sends the next part of a call. */
  function advance(call) {
    const end = () => open.splice(open.indexOf(call), 1);
    if (call.isCancelled && random(3) === 0) {
      steps.push({ bytes: frame(type.reset, 0, call.id, number(cancel)) });
      end();
      return;
    }
    if (call.at === call.body.length && call.hasTrailers) {
      pushHeaders(call.id, [['x-trailer', 'value']], true);
      end();
      return;
    }
    const rest = call.body.length - call.at;
    const part = call.body.subarray(call.at, call.at + Math.min(random(rest + 1), payloadBytesMax - 300));
    call.at += part.length;
    const endsStream = call.at === call.body.length && !call.hasTrailers && random(2) === 0;
    const { flags, padded } = pad(part);
    const bytes = frame(type.data, flags | (endsStream ? flag.endStream : 0), call.id, padded);
    steps.push({ bytes, id: call.id, dataBytes: padded.length });
    if (endsStream) end();
  }

  function pushSettings(all, initialWindow) {
    settings++;
    steps.push({ bytes: frame(type.settings, 0, 0, Buffer.concat(all)), settings: { initialWindow } });
  }

  function pushWindow(id) {
    const bytes = 1 + random(50_000);
    steps.push({ bytes: frame(type.windowUpdate, 0, id, number(bytes)), permitted: { id, bytes } });
  }

  function disturb() {
    const id = 2 * random(calls.length) + 1;
    switch (random(7)) {
      case 0: {
        const payload = Buffer.from(Array.from({ length: 8 }, () => random(256)));
        pings.push(payload.toString('hex'));
        steps.push({ bytes: frame(type.ping, 0, 0, payload) });
        break;
      }
      case 1: {
        const window = pick([0, 1, 100, 16_384, 65_535, 1_000_000]);
        const all = [setting(4, window), setting(1, random(4097)), setting(5, 16_384 + random(10_000))];
        all.push(setting(2, 0), setting(3, random(1000)), setting(99, random(1000)));
        const chosen = all.filter(() => random(3) === 0);
        pushSettings(chosen, chosen.includes(all[0]) ? window : undefined);
        break;
      }
      case 2:
        steps.push({ bytes: frame(type.priority, 0, id, Buffer.concat([number(id + 1), Buffer.of(random(256))])) });
        break;
      case 3:
        // Also for streams that are closed.
        if (calls.length > 0) pushWindow(id);
        break;
      case 4:
        pushWindow(0);
        break;
      case 5:
        steps.push({ bytes: frame(0x20 + random(100), random(256), pick([0, id]), Buffer.alloc(random(100))) });
        break;
      default:
        // Empty and padded DATA is valid and counts in the window.
        if (open.length > 0) {
          const { flags, padded } = pad(Buffer.alloc(0));
          const call = pick(open);
          steps.push({ bytes: frame(type.data, flags, call.id, padded), id: call.id, dataBytes: padded.length });
        }
    }
  }

  const firstWindow = random(2) === 0 ? undefined : pick([0, 1, 1000, 65_535, 1_000_000]);
  pushSettings(firstWindow === undefined ? [] : [setting(4, firstWindow)], firstWindow);
  steps[0].bytes = Buffer.concat([preface, steps[0].bytes]);
  while (waiting.length + open.length > 0) {
    if (random(5) === 0) disturb();
    else if (open.length === 0 || (waiting.length > 0 && random(3) === 0)) start(waiting.pop());
    else advance(pick(open));
  }
  return { steps, calls, pings, settings };
}

function createCall(random, isLarge) {
  const text = (most) => 'abcdefghij klmnop '.repeat(most).slice(0, random(most));
  const letters = (length) => String.fromCharCode(...Array.from({ length }, () => 0x61 + random(26)));
  // Long values of one length, which differ in a few letters or not at all.
  const field = random(3) === 0 ? `${'long'.repeat(20)}${random(3)}` : letters(random(random(10) === 0 ? 3000 : 30));
  const fieldsOf = (path, contentType = 'application/grpc') => [
    ...[
      [':method', 'POST'],
      [':scheme', 'http'],
      [':path', path],
      [':authority', 'localhost'],
    ],
    ...[
      ['content-type', contentType],
      ['te', 'trailers'],
      ['user-agent', 'fuzz'],
    ],
    ['x-echo', field],
  ];
  const textBytes = () => (isLarge || random(20) === 0 ? 40_000 : random(5) === 0 ? 3000 : 60);
  const texts = Array.from({ length: random(6) }, () => text(textBytes()));
  const body = (all) => Buffer.concat(all.map(messageOf));
  const answer = (status, all = [], message) => ({
    ...{ httpStatus: '200', status: `${status}`, message, echo: field, body: body(all).toString('latin1') },
  });
  const hasTrailers = random(4) === 0;
  const [first = ''] = texts;
  const isCancelled = random(10) === 0;
  const ok = (method, requests, responses) => ({
    fields: fieldsOf(`/echo.Echo/${method}`),
    body: body(requests),
    hasTrailers,
    isCancelled,
    expected: isCancelled ? undefined : answer(0, responses),
  });
  switch (random(12)) {
    case 0: {
      const status = 1 + random(16);
      const expected = answer(status, [], 'some reason');
      return { fields: fieldsOf('/echo.Echo/Say'), body: body([`fail ${status} some reason`]), expected };
    }
    case 1: {
      const expected = { ...answer(12), echo: undefined, message: undefined, hasAnyMessage: true };
      return { fields: fieldsOf('/echo.Echo/None'), body: body(texts), expected };
    }
    case 2: {
      const expected = { httpStatus: '415' };
      return { fields: fieldsOf('/echo.Echo/Say', 'text/plain'), body: body([first]), expected };
    }
    case 3: {
      const change = malformed[random(malformed.length)];
      return { fields: change(fieldsOf('/echo.Echo/Say')), body: body(texts.slice(0, 1)), expected: 'reset' };
    }
    case 4:
    case 5:
      return ok('Tell', [first], first.split(' '));
    case 6:
    case 7:
      return ok('Gather', texts, [texts.join(' ')]);
    case 8:
    case 9:
      return ok('Chat', texts, texts);
    default:
      return ok('Say', [first], [first]);
  }
}
