/**
 * The same handlers, middleware and calls on nice-grpc's own server and on ours. Clients receive the same, and
 * handlers see the same, except for the listed differences.
 */
import { setTimeout as delay } from 'node:timers/promises';
import {
  type CallContext,
  type CallOptions,
  type Client,
  ClientError,
  createChannel,
  createClient,
  createServer as createStockServer,
  Metadata,
  ServerError,
  type ServerMiddleware,
  Status,
  type Server as StockServer,
} from 'nice-grpc';
import { HealthDefinition, HealthServiceImpl, HealthState } from 'nice-grpc-server-health';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createServer } from '../../src/grpc-server/server.js';
import { aborted, type EchoHandlers, echoDefinition, echoHandlers, type Note, noteOf } from './echo.js';

type Noter = (event: string) => void;
type EchoClient = Client<typeof echoDefinition>;

interface Scenario {
  readonly name: string;
  readonly handlers?: (note: Noter) => Partial<EchoHandlers>;
  readonly middleware?: (note: Noter) => ServerMiddleware;
  /** Added with `with`, so it is only for the echo service. */
  readonly echoMiddleware?: (note: Noter) => readonly ServerMiddleware[];
  call(client: Caller, note: Noter): Promise<void>;
  /** The last event of the server, if it can be later than the client's. */
  readonly until?: string;
}

/** A difference that is intended. */
interface Difference {
  readonly stock: readonly string[];
  readonly ours: readonly string[];
  readonly why: string;
}

interface Caller {
  readonly client: EchoClient;
  readonly health: Client<typeof HealthDefinition>;
  readonly healthState: HealthState;
  readonly port: number;
  /** Runs one call, and notes what the client receives, in order. */
  run(start: (options: CallOptions) => Promise<Note> | AsyncIterable<Note>, metadata?: Metadata): Promise<void>;
}

// The time of a response, and the list of encodings, are compared in a test of their own.
const unComparedFields = new Set(['date', 'grpc-accept-encoding']);

function describeMetadata(metadata: Metadata): string {
  const entries = [...metadata]
    .filter(([name]) => !unComparedFields.has(name))
    .map(([name, values]) => {
      const texts = values.map((value) => (typeof value === 'string' ? value : Buffer.from(value).toString('hex')));
      return `${name}: ${texts.join('|')}`;
    });
  return entries.sort().join('; ');
}

/** Long messages are compared by their size. */
const shorten = ({ text }: Note): string => (text.length > 200 ? `${text.length} characters` : text);

function callerOf(port: number, note: Noter, healthState: HealthState): Caller & AsyncDisposable {
  const channel = createChannel(`127.0.0.1:${port}`, undefined, { 'grpc.max_receive_message_length': -1 });
  return {
    client: createClient(echoDefinition, channel),
    health: createClient(HealthDefinition, channel),
    healthState,
    port,
    async run(start, metadata) {
      const options: CallOptions = {
        metadata,
        onHeader: (header) => note(`client: header ${describeMetadata(header)}`),
        onTrailer: (trailer) => note(`client: trailer ${describeMetadata(trailer)}`),
      };
      try {
        const result = start(options);
        if (result instanceof Promise) note(`client: message ${shorten(await result)}`);
        else for await (const message of result) note(`client: message ${shorten(message)}`);
        note('client: OK');
      } catch (error) {
        if (error instanceof ClientError) note(`client: ${Status[error.code]} ${error.details}`);
        else note(`client: ${String(error)}`);
      }
    },
    async [Symbol.asyncDispose]() {
      channel.close();
    },
  };
}

interface Served extends Pick<StockServer, 'add' | 'with' | 'forceShutdown'> {
  listen(address: string): Promise<number>;
}

function startStock(middleware: ServerMiddleware | undefined): Served {
  return middleware === undefined ? createStockServer() : createStockServer().use(middleware);
}

function startOurs(middleware: ServerMiddleware | undefined): Served {
  return middleware === undefined ? createServer() : createServer().use(middleware);
}

/** The events of the client and of the server, each in order. Their order among each other depends on the network. */
async function eventsOn(kind: 'stock' | 'ours', one: Scenario): Promise<string[]> {
  const { handlers, middleware, echoMiddleware, call, until } = one;
  const events: string[] = [];
  const note = (event: string) => void events.push(event);
  const implementation = { ...echoHandlers, ...handlers?.((event) => note(`server: ${event}`)) };
  const healthState = HealthState();
  const added = middleware?.((event) => note(`server: ${event}`));
  const start = async (server: Served) => {
    const ofEcho = echoMiddleware?.((event) => note(`server: ${event}`)) ?? [];
    const builder = ofEcho.reduce((builder: Pick<Served, 'add' | 'with'>, next) => builder.with(next), server);
    builder.add(echoDefinition, implementation);
    server.add(HealthDefinition, HealthServiceImpl(healthState));
    onTestFinished(() => server.forceShutdown());
    return [server, await server.listen('127.0.0.1:0')] as const;
  };
  const [server, port] = await start(kind === 'stock' ? startStock(added) : startOurs(added));
  await using caller = callerOf(port, note, healthState);
  await call(caller, note);
  if (until !== undefined) await expect.poll(() => events, { timeout: 10_000 }).toContain(`server: ${until}`);
  server.forceShutdown();
  const of = (side: string) => events.filter((event) => event.startsWith(side));
  return [...of('client'), ...of('server')];
}

async function* from(...texts: string[]): AsyncIterable<Note> {
  yield* texts.map(noteOf);
}

/** Requests of a client that never ends. */
async function* endless(signal?: AbortSignal): AsyncIterable<Note> {
  yield { text: 'first' };
  await aborted({ signal: signal ?? new AbortController().signal } as CallContext);
}

const binary = Uint8Array.from([0, 1, 127, 128, 255]);
const someMetadata = () =>
  Metadata({ 'x-text': 'spaces, commas and % signs', 'x-many': ['one', 'two'], 'x-bin': [binary, new Uint8Array()] });

/** Handlers that send metadata, and fail with an error if there is one. */
function handlersWithMetadata(error?: unknown): Partial<EchoHandlers> {
  const prepare = ({ header, trailer }: CallContext) => {
    for (const [name, values] of someMetadata()) {
      for (const value of values) header.append(name, value);
      for (const value of values) trailer.append(`${name.slice(0, 2)}t${name.slice(1)}`, value);
    }
    if (error !== undefined) throw error;
  };
  return {
    async say(text, context) {
      prepare(context);
      return text;
    },
    async *tell(text, context) {
      prepare(context);
      yield text;
    },
    async gather(texts, context) {
      for await (const _ of texts);
      prepare(context);
      return { text: 'gathered' };
    },
    async *chat(texts, context) {
      prepare(context);
      yield* texts;
    },
  };
}

function allKinds(name: string, handlers: () => Partial<EchoHandlers>, texts: string[] = ['one two', 'three']) {
  const [first = ''] = texts;
  return [
    scenario(`${name}, unary`, {
      handlers,
      call: ({ client, run }) => run((options) => client.say({ text: first }, options)),
    }),
    scenario(`${name}, response stream`, {
      handlers,
      call: ({ client, run }) => run((options) => client.tell({ text: first }, options)),
    }),
    scenario(`${name}, request stream`, {
      handlers,
      call: ({ client, run }) => run((options) => client.gather(from(...texts), options)),
    }),
    scenario(`${name}, both streams`, {
      handlers,
      call: ({ client, run }) => run((options) => client.chat(from(...texts), options)),
    }),
  ];
}

function scenario(name: string, parts: Omit<Scenario, 'name'>): Scenario {
  return { name, ...parts };
}

const say = ({ client, run }: Caller) => run((options) => client.say({ text: 'text' }, options));
const tell = ({ client, run }: Caller) => run((options) => client.tell({ text: 'one two three' }, options));
const failing = (error: unknown) => () => handlersWithMetadata(error);

function fails(error: unknown): () => Partial<EchoHandlers> {
  const fail = () => {
    throw error;
  };
  return () => ({
    say: async () => fail(),
    async *tell(text) {
      yield text;
      fail();
    },
    gather: async () => fail(),
    async *chat(texts) {
      for await (const text of texts) {
        yield text;
        fail();
      }
    },
  });
}

class AbortError extends Error {
  override readonly name = 'AbortError';
}

const manyCharacters = '€'.repeat(600_000);

const scenarios: Scenario[] = [
  ...allKinds('echo', () => ({})),
  ...allKinds('empty messages', () => ({}), ['', '', '']),
  ...allKinds('unicode', () => ({}), ['€ 😀 \0 \r\n', 'ä']),
  ...allKinds('large messages', () => ({}), [manyCharacters, manyCharacters]),
  ...allKinds('metadata', () => handlersWithMetadata()),
  ...allKinds('metadata and an error', failing(new ServerError(Status.NOT_FOUND, 'Not found.'))),
  ...allKinds('ServerError', fails(new ServerError(Status.FAILED_PRECONDITION, 'Not now.'))),
  ...allKinds('ServerError with unicode', fails(new ServerError(Status.INTERNAL, '100 % of € 😀\r\n\ttext\0\x7f'))),
  ...allKinds('ServerError without a message', fails(new ServerError(Status.ABORTED, ''))),
  ...allKinds('Error', fails(new Error('secret'))),
  ...allKinds('thrown text', fails('secret')),
  ...allKinds('AbortError', fails(new AbortError('secret'))),
  ...allKinds('a request stream that is not read', () => ({
    gather: async () => ({ text: 'early' }),
    async *chat() {
      yield { text: 'early' };
    },
  })),
  scenario('a request without messages', {
    call: ({ client, run }) => run((options) => client.gather(from(), options)),
  }),
  scenario('a response without messages', { handlers: () => ({ async *tell() {} }), call: tell }),
  scenario('both streams without messages', {
    call: ({ client, run }) => run((options) => client.chat(from(), options)),
  }),
  scenario('1,000 messages both ways', {
    call: ({ client, run }) =>
      run((options) => client.chat(from(...Array.from({ length: 1000 }, (_, index) => `${index}`)), options)),
  }),
  scenario('a handler that ends while the client still sends', {
    handlers: () => ({
      async *chat(texts) {
        for await (const text of texts) {
          yield text;
          return;
        }
      },
    }),
    call: ({ client, run }) => run((options) => client.chat(endless(), options)),
  }),
  scenario('a handler that fails while the client still sends', {
    handlers: () => ({
      async gather(texts) {
        for await (const { text } of texts) throw new ServerError(Status.OUT_OF_RANGE, text);
        return { text: '' };
      },
    }),
    call: ({ client, run }) => run((options) => client.gather(endless(), options)),
  }),
  scenario('the request metadata', {
    handlers: (note) => ({
      async say(text, { metadata }) {
        for (const name of ['x-text', 'x-many', 'x-bin', 'x-none']) {
          note(`${name} ${metadata.getAll(name).map((value) => Buffer.from(value as string).toString('hex'))}`);
        }
        return text;
      },
    }),
    call: ({ client, run }) => run((options) => client.say({ text: 'text' }, options), someMetadata()),
  }),
  scenario('all names of the request metadata', {
    handlers: (note) => ({
      async say(text, { metadata }) {
        note(
          [...metadata]
            .map(([name]) => name)
            .sort()
            .join(' '),
        );
        return text;
      },
    }),
    call: ({ client, run }) =>
      run((options) => client.say({ text: 'text' }, options), someMetadata().set('grpc-trace-bin', binary)),
  }),
  scenario('the peer', {
    handlers: (note) => ({
      async say(text, { peer }) {
        note(peer.replace(/\d+$/, 'port'));
        return text;
      },
    }),
    call: say,
  }),
  scenario('a handler without this', {
    handlers: () => ({
      async say({ text }) {
        return { text: `${text} ${typeof this?.tell}` };
      },
    }),
    call: say,
  }),
];

const early = (empty: boolean) => {
  const sent = Promise.withResolvers<void>();
  const handlers = (): Partial<EchoHandlers> => ({
    async say(text, context) {
      if (!empty) context.header.set('x-early', 'yes');
      context.sendHeader();
      context.sendHeader();
      context.header.set('x-late', 'yes');
      // A header that is sent early arrives before the response exists.
      if (!empty) await sent.promise;
      return text;
    },
  });
  const call = ({ client, run }: Caller, note: Noter) =>
    run((options) =>
      client.say(
        { text: 'text' },
        {
          ...options,
          onHeader(header) {
            note(`client: header ${describeMetadata(header)}`);
            sent.resolve();
          },
        },
      ),
    );
  return { handlers, call };
};

scenarios.push(
  scenario('a header sent early', early(false)),
  scenario('an empty header sent early', early(true)),
  scenario('a header sent early, then an error', {
    handlers: () => ({
      async say(_text, context) {
        context.header.set('x-early', 'yes');
        context.sendHeader();
        throw new ServerError(Status.DATA_LOSS, 'late');
      },
    }),
    call: say,
  }),
);

/** Handlers that wait until they are cancelled, and note the end of each part. */
const waiting = (note: Noter): Partial<EchoHandlers> => ({
  async say(_text, context) {
    note('started');
    await aborted(context);
    note('ended');
    throw new AbortError();
  },
  async *tell(_text, context) {
    try {
      yield { text: 'first' };
      await aborted(context);
      note('aborted');
    } finally {
      note('ended');
    }
  },
  async gather(texts) {
    try {
      for await (const { text } of texts) note(`request ${text}`);
      return { text: '' };
    } catch (error) {
      note(`reader got ${error instanceof Error ? error.name : error}`);
      throw error;
    } finally {
      note('ended');
    }
  },
  async *chat(texts) {
    try {
      yield* texts;
    } catch (error) {
      note(`reader got ${error instanceof Error ? error.name : error}`);
      throw error;
    } finally {
      note('ended');
    }
  },
});

const inTime = () => Metadata({ 'grpc-timeout': '200m' });

scenarios.push(
  scenario('cancellation, unary', {
    handlers: waiting,
    until: 'ended',
    async call({ client, run }) {
      const cancelling = new AbortController();
      setTimeout(() => cancelling.abort(), 200);
      await run((options) => client.say({ text: 'text' }, { ...options, signal: cancelling.signal }));
    },
  }),
  scenario('cancellation, response stream', {
    handlers: waiting,
    until: 'ended',
    async call({ client }) {
      for await (const _ of client.tell({ text: 'text' })) break;
    },
  }),
  scenario('cancellation of a response stream whose handler writes', {
    handlers: (note) => ({
      async *tell({ text }) {
        try {
          while (true) {
            yield { text: text.repeat(10_000) };
            await delay(1);
          }
        } finally {
          note('ended');
        }
      },
    }),
    until: 'ended',
    async call({ client }) {
      for await (const _ of client.tell({ text: 'text' })) break;
    },
  }),
  scenario('cancellation of a response stream that waits for the client', {
    handlers: (note) => ({
      async *tell() {
        try {
          while (true) yield { text: 'text'.repeat(100_000) };
        } finally {
          note('ended');
        }
      },
    }),
    until: 'ended',
    async call({ client }) {
      for await (const _ of client.tell({ text: 'text' })) {
        await delay(200);
        break;
      }
    },
  }),
  scenario('cancellation, request stream', {
    handlers: waiting,
    until: 'ended',
    async call({ client, run }) {
      const cancelling = new AbortController();
      setTimeout(() => cancelling.abort(), 200);
      await run((options) => client.gather(endless(), { ...options, signal: cancelling.signal }));
    },
  }),
  scenario('cancellation, both streams', {
    // The client ends its requests and cancels the call at once, so that the reader may see either.
    handlers: (note) =>
      waiting((event) => {
        if (!event.startsWith('reader')) note(event);
      }),
    until: 'ended',
    async call({ client }) {
      for await (const _ of client.chat(endless())) break;
    },
  }),
  scenario('deadline, unary', {
    handlers: waiting,
    until: 'ended',
    call: ({ client, run }) => run((options) => client.say({ text: 'text' }, options), inTime()),
  }),
  scenario('deadline, response stream', {
    handlers: waiting,
    until: 'ended',
    call: ({ client, run }) => run((options) => client.tell({ text: 'text' }, options), inTime()),
  }),
  scenario('deadline, request stream', {
    handlers: waiting,
    until: 'ended',
    call: ({ client, run }) => run((options) => client.gather(endless(), options), inTime()),
  }),
  scenario('deadline, both streams', {
    handlers: waiting,
    until: 'ended',
    call: ({ client, run }) => run((options) => client.chat(endless(), options), inTime()),
  }),
);

const middlewareScenario = (name: string, call: Scenario['call'], middleware: (note: Noter) => ServerMiddleware) =>
  scenario(`middleware that ${name}`, { call, middleware });

/** Middleware has no types of messages. */
const changed = (message: unknown, suffix: string) => ({ text: `${(message as Note).text}${suffix}` }) as never;

const changing = (): ServerMiddleware =>
  async function* (call, context) {
    context.trailer.set('x-middleware', call.method.path);
    const responses = call.next(changed(call.request, ' changed'), context);
    if (!call.responseStream) return changed(yield* responses, '!');
    for await (const response of responses) yield changed(response, '!');
  };

scenarios.push(
  middlewareScenario('changes a request and the response', say, changing),
  middlewareScenario('changes a request and responses of a stream', tell, changing),
  middlewareScenario(
    'throws before the handler',
    say,
    () =>
      async function* (call, context) {
        if (!context.metadata.has('authorization')) throw new ServerError(Status.PERMISSION_DENIED, 'No.');
        return yield* call.next(call.request, context);
      },
  ),
);

const noting = (note: Noter, name: string): ServerMiddleware =>
  async function* (call, context) {
    note(`${name} runs for ${call.method.path}`);
    context.trailer.append('x-middleware', name);
    return yield* call.next(call.request as never, context);
  };

const sayAndCheckHealth = async (caller: Caller, note: Noter) => {
  await say(caller);
  note(`client: ${(await caller.health.check({ service: '' })).status}`);
};

scenarios.push(
  scenario('middleware of one service', {
    echoMiddleware: (note) => [noting(note, 'first'), noting(note, 'second')],
    call: sayAndCheckHealth,
  }),
  scenario('middleware of all services and of one', {
    middleware: (note) => noting(note, 'all'),
    echoMiddleware: (note) => [noting(note, 'first'), noting(note, 'second')],
    call: sayAndCheckHealth,
  }),
);

const describeFailure = (error: unknown) => (error instanceof Error ? error.constructor.name : String(error));

scenarios.push(
  middlewareScenario(
    'throws after the response',
    say,
    () =>
      async function* (call, context) {
        yield* call.next(call.request as never, context);
        throw new ServerError(Status.UNAVAILABLE, 'Later.');
      },
  ),
  middlewareScenario(
    'catches the error of a handler',
    tell,
    (note) =>
      async function* (call, context) {
        try {
          return yield* call.next(call.request as never, context);
        } catch (error) {
          note(`caught ${describeFailure(error)}`);
          throw new ServerError(Status.UNAVAILABLE, 'Replaced.');
        }
      },
  ),
  middlewareScenario(
    'yields a message of a unary call',
    say,
    (note) =>
      async function* () {
        try {
          yield { text: 'yielded' } as never;
        } finally {
          note('ended');
        }
      },
  ),
  middlewareScenario('returns nothing', say, () => async function* () {}),
  middlewareScenario(
    'returns a message of a response stream',
    tell,
    () =>
      async function* (call, context) {
        yield* call.next(call.request as never, context);
        return { text: 'returned' } as never;
      },
  ),
  middlewareScenario(
    'passes a stream to a unary handler',
    say,
    () =>
      async function* (call, context) {
        return yield* call.next(from('text') as never, context);
      },
  ),
  middlewareScenario(
    'passes a message to a handler of a stream',
    ({ client, run }) => run((options) => client.gather(from('text'), options)),
    () =>
      async function* (call, context) {
        return yield* call.next({ text: 'text' } as never, context);
      },
  ),
);

const strangers = {
  method: { ...echoDefinition, say: { ...echoDefinition.say, path: '/echo.Echo/Missing' } },
  service: { ...echoDefinition, say: { ...echoDefinition.say, path: '/echo.Missing/Say' } },
  invalid: { ...echoDefinition, say: { ...echoDefinition.say, requestSerialize: () => Buffer.from([0xff]) } },
};

function callOf(definition: typeof echoDefinition): Scenario['call'] {
  return async ({ port, run }) => {
    const channel = createChannel(`127.0.0.1:${port}`);
    const client = createClient(definition, channel);
    await run((options) => client.say({ text: 'text' }, options));
    channel.close();
  };
}

const encodingFails = {
  say: async () => ({}) as never,
  tell: async function* () {
    yield { text: 'first' };
    yield {} as never;
  },
};

scenarios.push(
  scenario('an unknown method', { call: callOf(strangers.method as never) }),
  scenario('an unknown service', { call: callOf(strangers.service as never) }),
  scenario('a request that cannot be decoded', { call: callOf(strangers.invalid as never) }),
  scenario('a response that cannot be encoded', { handlers: () => encodingFails, call: say }),
  scenario('a response of a stream that cannot be encoded', { handlers: () => encodingFails, call: tell }),
  scenario('a handler that returns nothing', { handlers: () => ({ say: async () => undefined as never }), call: say }),
  scenario('a request larger than the limit', {
    call: ({ client, run }) => run((options) => client.say({ text: 'x'.repeat(4 * 1024 * 1024 + 1) }, options)),
  }),
  scenario('health', {
    async call({ health, healthState }, note) {
      note(`client: ${(await health.check({ service: '' })).status}`);
      try {
        await health.check({ service: 'unknown' });
      } catch (error) {
        note(`client: ${String(error)}`);
      }
      for await (const { status } of health.watch({ service: 'changing' })) {
        note(`client: ${status}`);
        const current = healthState.getStatus('changing');
        if (current === 'unhealthy') break;
        healthState.setStatus(current === 'unknown' ? 'healthy' : 'unhealthy', 'changing');
      }
    },
  }),
);

const ended = ['client: trailer content-type: application/grpc+proto'];
const received = ['client: header content-type: application/grpc+proto', 'client: message first', 'client: trailer '];
const stockDeadline = 'client: DEADLINE_EXCEEDED Deadline exceeded';
const ourDeadline = 'client: DEADLINE_EXCEEDED The deadline has passed.';
const ourUnknown = 'client: UNKNOWN Unknown server error occurred';
const wording = 'Only the text differs.';
const ownErrors = 'A codec may throw any error. The observer of the server maps it to a status.';
const readerFails = 'A reader that ends without an error would take an incomplete request for a complete one.';

const differences: Readonly<Record<string, Difference>> = {
  'deadline, unary': {
    stock: [...ended, stockDeadline, 'server: started', 'server: ended'],
    ours: [...ended, ourDeadline, 'server: started', 'server: ended'],
    why: wording,
  },
  'deadline, response stream': {
    stock: [...received, stockDeadline, 'server: aborted', 'server: ended'],
    ours: [...received, ourDeadline, 'server: aborted', 'server: ended'],
    why: wording,
  },
  'deadline, request stream': {
    stock: [...ended, stockDeadline, 'server: request first', 'server: ended'],
    ours: [...ended, ourDeadline, 'server: request first', 'server: reader got AbortError', 'server: ended'],
    why: readerFails,
  },
  'deadline, both streams': {
    stock: [...received, stockDeadline, 'server: ended'],
    ours: [...received, ourDeadline, 'server: reader got AbortError', 'server: ended'],
    why: readerFails,
  },
  'an unknown method': {
    stock: [...ended, 'client: UNIMPLEMENTED The server does not implement the method /echo.Echo/Missing'],
    ours: [...ended, 'client: UNIMPLEMENTED The server has no such method.'],
    why: wording,
  },
  'an unknown service': {
    stock: [...ended, 'client: UNIMPLEMENTED The server does not implement the method /echo.Missing/Say'],
    ours: [...ended, 'client: UNIMPLEMENTED The server has no such method.'],
    why: wording,
  },
  'a request that cannot be decoded': {
    stock: [...ended, 'client: INTERNAL Error deserializing request'],
    ours: [...ended, ourUnknown],
    why: ownErrors,
  },
  'a response that cannot be encoded': {
    stock: [...ended, 'client: INTERNAL Error serializing response'],
    ours: [...ended, ourUnknown],
    why: ownErrors,
  },
  'a response of a stream that cannot be encoded': {
    stock: [...received, 'client: INTERNAL Error serializing response'],
    ours: [...received, ourUnknown],
    why: ownErrors,
  },
  'a request larger than the limit': {
    stock: [...ended, 'client: RESOURCE_EXHAUSTED Received message larger than max (4194305 vs 4194304)'],
    ours: [...ended, 'client: RESOURCE_EXHAUSTED A message of this method must have at most 4194304 bytes.'],
    why: wording,
  },
};

describe('nice-grpc’s server and ours give the same', () => {
  it.each(scenarios)('$name', async (one) => {
    const stock = await eventsOn('stock', one);
    const ours = await eventsOn('ours', one);
    expect(stock.length).toBeGreaterThan(0);
    const difference = differences[one.name];
    if (difference === undefined) expect(ours).toEqual(stock);
    else expect({ stock, ours, why: difference.why }).toEqual(difference);
  });

  it('has a scenario for each listed difference', () => {
    const names = scenarios.map(({ name }) => name);
    expect(Object.keys(differences).filter((name) => !names.includes(name))).toEqual([]);
  });
});

// nice-grpc's server never answers such calls.
it.each([
  ['a header field of HTTP/1', 'header', 'connection'],
  ['a trailer of HTTP/1', 'trailer', 'connection'],
  ['the content type', 'header', 'content-type'],
  ['the status', 'trailer', 'grpc-status'],
] as const)('a handler that sets %s fails its call', async (_, part, name) => {
  const fail = (context: CallContext, text: string) => {
    context[part].set(name, 'value');
    if (text === 'fail') throw new ServerError(Status.NOT_FOUND, 'Not found.');
  };
  const handlers: Partial<EchoHandlers> = {
    async say(note, context) {
      fail(context, note.text);
      return note;
    },
    async *tell(note, context) {
      fail(context, note.text);
      yield note;
    },
  };
  const call = async ({ client, run }: Caller) => {
    for (const text of ['fail', 'succeed']) {
      await run((options) => client.say({ text }, options));
      await run((options) => client.tell({ text }, options));
    }
  };
  const events = await eventsOn('ours', { name: '', handlers: () => handlers, call });
  const statuses = events.filter((event) => /^client: [A-Z]+ /.test(event));
  expect(statuses).toEqual(Array.from({ length: 4 }, () => ourUnknown));
});
