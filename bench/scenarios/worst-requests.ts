/** Measures how long the most expensive requests of each method block the event loop. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request as startRequest } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { Client, credentials } from '@grpc/grpc-js';
import { requestBytesMax } from '../../src/model/method-limits.js';
import { formatNumber } from '../report.js';
import { type Directory, openDirectory, type Results, type Scenario } from '../scenario.js';

const protocols = ['gRPC', 'JSON'] as const;
type Protocol = (typeof protocols)[number];

// One request may block the event loop for so long.
const targetMs = 50;
// Each request is sent so many times, and the minimum counts, because the first ones run before V8 has optimized the code.
const repetitions = 5;
// A stream, such as a watch, does not end. After these times the server has read the request, or sent the existing users.
const streamMsMax = 2000;
const largeAnswerMsMax = 10_000;
const unaryMsMax = 60_000;
// An answer with large users has more bytes than this, and an error has fewer.
const largeAnswerBytesMin = 50_000;

const streams: ReadonlySet<string> = new Set(['ImportUsers', 'ExportUsers', 'WatchUsers', 'ResolveUsers']);

/** Users with almost as many attributes as a user may have, by last name. BatchGetUsers of so many answers with almost 4 MiB. */
const largeUsers = {
  Numbers: { attributes: "jsonb_build_object('list', array_fill(1, array[8000]))", count: 45 },
  Objects: { attributes: `jsonb_build_object('list', array_fill('{}'::jsonb, array[5400]))`, count: 185 },
  Keys: {
    attributes: `(select jsonb_object_agg('k' || lpad(i::text, 4, '0'), '{}'::jsonb) from generate_series(1, 1200) as i)`,
    count: 200,
  },
} as const;

interface WorstRequest {
  readonly what: string;
  readonly body: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether the answer makes it expensive. */
  readonly hasLargeAnswer?: true;
}

/** The ids of the large users, by last name. */
type LargeIds = Readonly<Record<string, readonly string[]>>;

export const worstRequests: Scenario = {
  name: 'worst-requests',
  title: 'The worst request of each method',
  about:
    'Requests that are as expensive as their limits allow, and some beyond them: nested, with as many elements or fields as possible, ' +
    'with the longest texts, and requests for the most expensive answers. Other calls wait while one step of the event loop runs. The ' +
    'table has the longest step for the worst request of each method, in CPU time of the event loop, because the machine has other load. ' +
    'Each request was sent five times, and the shortest of the five longest steps counts.',

  async open(bench) {
    await using cleanUp = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), 'roster-probe-'));
    cleanUp.defer(() => rm(folder, { recursive: true }));
    const probePath = join(folder, 'socket');
    const directory = cleanUp.use(
      await openDirectory(bench, 'worst_requests', 1000, {
        NODE_OPTIONS: `--import=${join(import.meta.dirname, '../step-probe.js')}`,
        STEP_PROBE_SOCKET: probePath,
      }),
    );
    const largeIds = await addLargeUsers(directory);
    const owned = cleanUp.move();
    const worst = new Map<string, string>();
    const methods = Object.keys(requestBytesMax).filter((path) => !path.startsWith('/grpc.'));
    const cases = methods.flatMap((path) => {
      const [, method = ''] = /\/(\w+)$/.exec(path) ?? [];
      // A method with streams both ways needs HTTP/2, which the gateway has with TLS only.
      const supported = method === 'ResolveUsers' ? (['gRPC'] as const) : protocols;
      return supported.map((over) => ({ path, method, labels: { method, over } }));
    });
    const nameOf = ({ method, over }: { method: string; over: string }) => `${method} over ${over}`;
    return {
      cases: cases.map(({ path, method, labels }) => ({
        labels,
        async measure() {
          const steps: { what: string; ms: number }[] = [];
          for (const each of requestsFor(path, method, labels.over, largeIds)) {
            const send = () => (labels.over === 'gRPC' ? callGrpc : callJson)(directory, path, method, each);
            steps.push({ what: each.what, ms: await longestStep(probePath, each, send) });
          }
          const [longest] = steps.toSorted((one, other) => other.ms - one.ms);
          worst.set(nameOf(labels), longest?.what ?? '');
          return { stepMs: longest?.ms ?? Number.NaN };
        },
      })),
      columns: [{ name: 'stepMs', heading: 'longest step, ms', digits: 0, spread: true }],
      report: (results: Results) => {
        const slow = cases.filter(({ labels }) => results.median(labels, 'stepMs') > targetMs);
        const text = slow.map(
          ({ labels }) =>
            `${nameOf(labels)} takes ${formatNumber(results.median(labels, 'stepMs'))} ms (${worst.get(nameOf(labels))})`,
        );
        return {
          sentences: [
            slow.length === 0
              ? `No step takes more than ${targetMs} ms (the target).`
              : `The target is ${targetMs} ms. Longer: ${text.join('; ')}.`,
          ],
        };
      },
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  },
};

/** Adds users with many attributes, for expensive answers. */
async function addLargeUsers({ admin }: Directory): Promise<LargeIds> {
  const ids: Record<string, string[]> = {};
  for (const [lastName, { attributes, count }] of Object.entries(largeUsers)) {
    const { rows } = await admin.query<{ id: string }>(
      `insert into users (id, first_name, last_name, email, profile_image_url, attributes, create_time, update_time)
       select gen_random_uuid(), 'Ada', $1, $1 || n || '@example.com', '', ${attributes}, now(), now()
       from generate_series(1, $2::int) as n
       returning id`,
      [lastName, count],
    );
    ids[lastName] = rows.map(({ id }) => id);
  }
  return ids;
}

function requestsFor(path: string, method: string, over: Protocol, largeIds: LargeIds): WorstRequest[] {
  const bytesMax = requestBytesMax[path] ?? 0;
  const isJson = over === 'JSON';
  const requests = isJson ? jsonRequests(method, 2 * bytesMax) : protobufRequests(bytesMax);
  const json = (value: object) => Buffer.from(JSON.stringify(value));
  const forAnswers = Object.keys(largeUsers).flatMap((lastName): WorstRequest[] => {
    const what = `an answer with large users (${lastName.toLowerCase()})`;
    const filter = `last_name == "${lastName}"`;
    switch (method) {
      case 'ListUsers': {
        const body = isJson
          ? json({ filter, pageSize: 1000 })
          : new BinaryWriter().uint32(8).int32(1000).uint32(26).string(filter).finish();
        return [{ what, body, hasLargeAnswer: true }];
      }
      case 'BatchGetUsers': {
        const ids = largeIds[lastName] ?? [];
        const writer = new BinaryWriter();
        for (const id of ids) writer.uint32(10).string(id);
        return [{ what, body: isJson ? json({ ids }) : writer.finish(), hasLargeAnswer: true }];
      }
      case 'ExportUsers': {
        const body = isJson ? json({ filter }) : new BinaryWriter().uint32(10).string(filter).finish();
        return [{ what, body, hasLargeAnswer: true }];
      }
      default:
        return [];
    }
  });
  if (method === 'WatchUsers') {
    const body = isJson ? json({ includeExisting: true }) : new BinaryWriter().uint32(16).bool(true).finish();
    forAnswers.push({ what: 'all existing users', body, hasLargeAnswer: true });
  }
  return [...requests, ...forAnswers];
}

function protobufRequests(bytesMax: number): WorstRequest[] {
  const field = (number: number, bytes: Uint8Array) =>
    new BinaryWriter()
      .uint32((number << 3) | 2)
      .bytes(bytes)
      .finish();
  const inAttributes = (list: Uint8Array) =>
    field(1, field(6, field(1, Buffer.concat([field(1, Buffer.from('k')), field(2, field(6, list))]))));
  // The fields around the list take fewer bytes than this.
  const room = bytesMax - 64;
  const users = Buffer.alloc(room, field(1, field(6, field(1, field(1, Buffer.from('k'))))));
  return [
    { what: 'empty fields', body: repeated(bytesMax, Buffer.from([0x0a, 0])) },
    { what: 'unknown fields', body: repeated(bytesMax, Buffer.from([0x98, 0x06, 0])) },
    { what: 'users with one attribute', body: users.subarray(0, room - (room % 9)) },
    { what: 'a list of empty values', body: inAttributes(repeated(room, Buffer.from([0x0a, 0]))) },
    {
      what: 'a list of numbers',
      body: inAttributes(repeated(room, Buffer.from([0x0a, 9, 0x11, 0, 0, 0, 0, 0, 0, 0, 0]))),
    },
    { what: 'a long text', body: field(1, Buffer.alloc(room, 'x')) },
    { what: 'a long text that is not ASCII', body: field(1, Buffer.alloc(room - (room % 2), 'é')) },
  ];
}

function jsonRequests(method: string, bytesMax: number): WorstRequest[] {
  const filled = (start: string, part: string, end: string) => {
    const room = bytesMax - start.length - end.length;
    return Buffer.concat([Buffer.from(start), repeated(room, Buffer.from(part)), Buffer.from(end)]);
  };
  const members = (count: number, member: (index: number) => string) =>
    Array.from({ length: count }, (_, index) => member(index)).join(',');
  const hasOneUser = ['CreateUser', 'UpdateUser'].includes(method);
  const oneUser = (attributes: string) =>
    Buffer.from(hasOneUser ? `{"user":{"attributes":{${attributes}}}}` : `{"users":[{"attributes":{${attributes}}}]}`);
  // Different keys, because they are the most expensive.
  const count = Math.min(24_000, Math.floor(bytesMax / 16));
  const longKey = 'k'.repeat(300);
  const longCount = Math.min(24_000, Math.floor(bytesMax / 330));
  const half = Math.floor(bytesMax / 2);
  const deep = Buffer.concat([Buffer.alloc(half, '['), Buffer.alloc(half, ']')]);
  return [
    { what: 'nested lists', body: deep },
    { what: 'nested lists, compressed', body: gzipSync(deep), headers: { 'content-encoding': 'gzip' } },
    { what: 'a list of numbers', body: filled('{"none":[1', ',1', ']}') },
    { what: 'a long text', body: filled('{"none":"', 'x', '"}') },
    { what: 'a long text of escapes', body: filled('{"none":"', '\\u00e9', '"}') },
    { what: 'a long text that is not ASCII', body: filled('{"none":"', 'é', '"}') },
    { what: 'a long number', body: filled('{"none":0.', '1', '}') },
    {
      what: 'one user with long keys',
      body: oneUser(members(longCount, (index) => `"${longKey}${index}":1`)),
    },
    {
      what: 'escaped keys',
      body: Buffer.from(`{"none":{${members(longCount, (index) => `"\\\\${longKey}${index}":"\\\\"`)}}}`),
    },
    {
      what: 'one user with many attributes',
      body: oneUser(members(count, (index) => `"k${index}":1`)),
    },
    {
      what: 'users with different attributes',
      body: Buffer.from(`{"users":[${members(Math.floor(count / 4), (index) => `{"attributes":{"k${index}":{}}}`)}]}`),
    },
    {
      what: 'objects with different keys',
      body: Buffer.from(`{"none":[${members(count / 2, (index) => `{"k${index}":1}`)}]}`),
    },
  ];
}

/** Repeats the part as often as it fits. */
function repeated(bytes: number, part: Uint8Array): Buffer {
  return Buffer.alloc(bytes - (bytes % part.length), part);
}

/** `send` returns the bytes of the answer. */
async function longestStep(probePath: string, { what, hasLargeAnswer }: WorstRequest, send: () => Promise<number>) {
  const steps: number[] = [];
  for (let repetition = 0; repetition < repetitions; repetition++) {
    const probe = await startProbe(probePath);
    const bytes = await send();
    steps.push(await probe.stop());
    if (hasLargeAnswer && bytes < largeAnswerBytesMin) throw new Error(`${what}: the call failed.`);
  }
  return Math.min(...steps);
}

function timeoutMsOf(method: string, { hasLargeAnswer }: WorstRequest): number {
  if (!streams.has(method)) return unaryMsMax;
  return hasLargeAnswer ? largeAnswerMsMax : streamMsMax;
}

async function callGrpc({ address }: Directory, path: string, method: string, request: WorstRequest): Promise<number> {
  const client = new Client(address, credentials.createInsecure());
  const asIs = (bytes: Buffer) => bytes;
  const deadline = Date.now() + timeoutMsOf(method, request);
  const call = client.makeServerStreamRequest(path, asIs, asIs, Buffer.from(request.body), { deadline });
  let bytes = 0;
  call.on('data', (message: Buffer) => {
    bytes += message.length;
  });
  call.on('error', () => {});
  await new Promise((resolve) => call.once('status', resolve));
  client.close();
  return bytes;
}

async function callJson({ service }: Directory, path: string, method: string, request: WorstRequest): Promise<number> {
  const { body, headers = {} } = request;
  const isStream = streams.has(method);
  const isCompressed = 'content-encoding' in headers;
  const head = Buffer.alloc(5);
  head.writeUInt8(isCompressed ? 1 : 0);
  head.writeUInt32BE(body.length, 1);
  const sentHeaders = isStream
    ? {
        'content-type': 'application/connect+json',
        ...(isCompressed ? { 'connect-content-encoding': headers['content-encoding'] } : {}),
      }
    : { 'content-type': 'application/json', ...headers };
  let bytes = 0;
  await new Promise<void>((resolve) => {
    const options = {
      method: 'POST',
      headers: sentHeaders,
      agent: false,
      signal: AbortSignal.timeout(timeoutMsOf(method, request)),
    };
    const sent = startRequest(`http://${service.http}${path}`, options, (response) => {
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      response.once('close', resolve).on('error', () => {});
    });
    sent.on('error', () => resolve());
    sent.end(isStream ? Buffer.concat([head, body]) : body);
  });
  return bytes;
}

/** Begins to measure. `stop` returns the CPU time of the service's longest step so far, in milliseconds. */
async function startProbe(path: string) {
  const socket = connect(path);
  await once(socket, 'data');
  return {
    async stop(): Promise<number> {
      socket.end();
      return Number(await text(socket));
    },
  };
}
