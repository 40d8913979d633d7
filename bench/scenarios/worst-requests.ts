/** Measures how long the most expensive request of each method blocks other requests. */
import { Agent, request as startRequest } from 'node:http';
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
// Each request is sent so many times, and the median counts, because the machine has other load.
const repetitions = 5;
// A stream, such as a watch, does not end. After this time the server has read the request.
const answerMsMax = (method: string) => (streams.has(method) ? 500 : 10_000);

const streams: ReadonlySet<string> = new Set(['ImportUsers', 'ExportUsers', 'WatchUsers', 'ResolveUsers']);
const largeUserName = 'Large';
const largeUsers = 300;

interface WorstRequest {
  readonly what: string;
  readonly body: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

export const worstRequests: Scenario = {
  name: 'worst-requests',
  title: 'The worst request of each method',
  about:
    'Requests that are as expensive as their limits allow, and some beyond them: nested, with as many elements or fields as possible, ' +
    'with the longest texts. Meanwhile another client requests `/healthz` continuously: its longest wait is slightly more than the time ' +
    'for which the event loop was blocked. The table has the worst request of each method.',

  async open(bench) {
    const directory = await openDirectory(bench, 'worst_requests', 1000);
    await addLargeUsers(directory);
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
          const waits: { what: string; ms: number }[] = [];
          for (const each of requestsFor(path, method, labels.over)) {
            waits.push({ what: each.what, ms: await longestWait(directory, path, method, labels.over, each) });
          }
          const [longest] = waits.toSorted((one, other) => other.ms - one.ms);
          worst.set(nameOf(labels), longest?.what ?? '');
          return { waitMs: longest?.ms ?? Number.NaN };
        },
      })),
      columns: [{ figure: 'waitMs', heading: 'longest wait, ms', digits: 1, spread: true }],
      report: (results: Results) => {
        const slow = cases.filter(({ labels }) => results.median(labels, 'waitMs') > targetMs);
        const text = slow.map(
          ({ labels }) =>
            `${nameOf(labels)} takes ${formatNumber(results.median(labels, 'waitMs'))} ms (${worst.get(nameOf(labels))})`,
        );
        return {
          sentences: [
            slow.length === 0
              ? `No request makes others wait for more than ${targetMs} ms (the target).`
              : `The target is ${targetMs} ms. Longer: ${text.join('; ')}.`,
          ],
        };
      },
      [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
    };
  },
};

/** Adds users with the maximum number of values in their attributes, for expensive answers. */
async function addLargeUsers({ admin }: Directory): Promise<void> {
  await admin.query(
    `insert into users (id, first_name, last_name, email, profile_image_url, attributes, create_time, update_time)
     select gen_random_uuid(), 'Ada', $1, 'large' || n || '@example.com', '',
       jsonb_build_object('list', array_to_json(array_fill(1, array[8000]))), now(), now()
     from generate_series(1, $2::int) as n`,
    [largeUserName, largeUsers],
  );
}

function requestsFor(path: string, method: string, over: Protocol): WorstRequest[] {
  const bytesMax = requestBytesMax[path] ?? 0;
  const requests = over === 'gRPC' ? protobufRequests(bytesMax) : jsonRequests(2 * bytesMax);
  if (method !== 'ListUsers') return requests;
  const filter = `last_name == "${largeUserName}"`;
  const body =
    over === 'gRPC'
      ? new BinaryWriter().uint32(8).int32(1000).uint32(26).string(filter).finish()
      : Buffer.from(JSON.stringify({ filter, pageSize: 1000 }));
  return [...requests, { what: 'an answer with the maximum number of values', body }];
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

function jsonRequests(bytesMax: number): WorstRequest[] {
  const filled = (start: string, part: string, end: string) => {
    const room = bytesMax - start.length - end.length;
    return Buffer.concat([Buffer.from(start), repeated(room, Buffer.from(part)), Buffer.from(end)]);
  };
  const members = (count: number, member: (index: number) => string) =>
    Array.from({ length: count }, (_, index) => member(index)).join(',');
  // Different keys, because they are the most expensive.
  const count = Math.min(24_000, Math.floor(bytesMax / 16));
  const half = Math.floor(bytesMax / 2);
  const deep = Buffer.concat([Buffer.alloc(half, '['), Buffer.alloc(half, ']')]);
  return [
    { what: 'nested lists', body: deep },
    { what: 'nested lists, compressed', body: gzipSync(deep), headers: { 'content-encoding': 'gzip' } },
    { what: 'a list of numbers', body: filled('{"none":[1', ',1', ']}') },
    { what: 'a long text', body: filled('{"none":"', 'x', '"}') },
    { what: 'a long text of escapes', body: filled('{"none":"', '\\u00e9', '"}') },
    { what: 'a long text that is not ASCII', body: filled('{"none":"', 'é', '"}') },
    {
      what: 'one user with many attributes',
      body: Buffer.from(`{"user":{"attributes":{${members(count, (index) => `"k${index}":1`)}}}}`),
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

async function longestWait(
  directory: Directory,
  path: string,
  method: string,
  over: Protocol,
  each: WorstRequest,
): Promise<number> {
  const waits: number[] = [];
  const client = new Client(directory.address, credentials.createInsecure());
  for (let repetition = 0; repetition < repetitions; repetition++) {
    const probe = startProbe(directory.service.http);
    await probe.probed();
    if (over === 'gRPC') await callGrpc(client, path, method, each);
    else await callJson(directory, path, method, each);
    waits.push(await probe.stop());
  }
  client.close();
  return waits.toSorted((one, other) => one - other)[repetitions >> 1] ?? Number.NaN;
}

function callGrpc(client: Client, path: string, method: string, { body }: WorstRequest): Promise<void> {
  const asIs = (bytes: Buffer) => bytes;
  const deadline = Date.now() + answerMsMax(method);
  const call = client.makeServerStreamRequest(path, asIs, asIs, Buffer.from(body), { deadline });
  call.on('data', () => {});
  call.on('error', () => {});
  return new Promise((resolve) => call.once('status', () => resolve()));
}

async function callJson(
  { service }: Directory,
  path: string,
  method: string,
  { body, headers = {} }: WorstRequest,
): Promise<void> {
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
  await new Promise<void>((resolve) => {
    const options = {
      method: 'POST',
      headers: sentHeaders,
      agent: false,
      signal: AbortSignal.timeout(answerMsMax(method)),
    };
    const sent = startRequest(`http://${service.http}${path}`, options, (response) => {
      response.resume().once('close', resolve);
      response.on('error', () => {});
    });
    sent.on('error', () => resolve());
    sent.end(isStream ? Buffer.concat([head, body]) : body);
  });
}

/** Requests /healthz continuously. `stop` returns the longest time to an answer, in milliseconds. */
function startProbe(address: string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const first = Promise.withResolvers<void>();
  let longestMs = 0;
  let isRunning = true;
  const probe = () =>
    new Promise<void>((resolve, reject) => {
      startRequest(`http://${address}/healthz`, { agent }, (response) => response.resume().once('end', resolve))
        .once('error', reject)
        .end();
    });
  const running = (async () => {
    // The first request, which connects, does not count.
    await probe();
    first.resolve();
    while (isRunning) {
      const sentMs = performance.now();
      await probe();
      longestMs = Math.max(longestMs, performance.now() - sentMs);
    }
  })();
  return {
    probed: () => first.promise,
    async stop(): Promise<number> {
      isRunning = false;
      await running;
      agent.destroy();
      return longestMs;
    },
  };
}
