/**
 * A gRPC server with nice-grpc's interface: it runs nice-grpc's service implementations and middleware, with generated
 * definitions. It has no dependency on the rest of Roster.
 */
import type { CompatServiceDefinition, ServerAddBuilder } from 'nice-grpc';
import { composeServerMiddleware, type ServerMiddleware, Status } from 'nice-grpc-common';
import type { StreamReceiver } from '../http2/application.js';
import { Admission, measureMs } from './admission.js';
import type { ByteBudget } from './byte-budget.js';
import { ServerCall } from './call.js';
import { callError } from './call-error.js';
import { statusResponse } from './call-response.js';
import type { UnaryCalls } from './caller-share.js';
import { servedMethods } from './handlers.js';
import {
  type ConnectionOptions,
  createListener,
  type Http2Implementation,
  type Listener,
  type ListenerConnection,
} from './listener.js';
import { type ClientStream, openMemoryStream } from './memory-stream.js';
import { type CallInfo, type CallObserver, type CallStatus, plainObserver } from './observer.js';
import { parseTimeout } from './protocol.js';
import type { CallLimits, PeerContext, ServedMethod } from './served-method.js';
import type { ServerTls } from './server-tls.js';
import { type Connection, fieldOf, type HeaderFields, type StreamAcceptor, type TransportStream } from './stream.js';

export interface ServerOptions {
  /** The maximum size of a request message of each method. The default is 4 MiB. */
  readonly requestBytesMax?: (path: string) => number;
  readonly responseBytesMax?: number;
  /** Compresses responses with gzip for clients that accept it. The default is false. */
  readonly compressResponses?: boolean;
  /** Limits the bytes that the process holds for clients. */
  readonly budget?: ByteBudget;
  /** Limits the bytes that the process holds for each connection. The default is 64 MiB. */
  readonly connectionBytesMax?: number;
  /** The time in which a client must send the next part of a message, or read the next part of a response. */
  readonly stallTimeoutMs?: number;
  readonly connections?: Partial<ConnectionOptions>;
  readonly overload?: Overload;
  /** Which implementation of HTTP/2 listens. The default is src/http2. */
  readonly http2?: Http2Implementation;
  /** Called at the header of each call. */
  readonly observe?: (call: CallInfo) => CallObserver;
  /**
   * Returns an error to refuse a call at its header, before its request is read, or a promise of an error. Messages
   * that the client sends meanwhile wait.
   */
  readonly admit?: (call: CallInfo) => unknown;
}

/** Calls beyond what the server can answer in time. They are refused before anything else, and are not observed. */
export interface Overload {
  readonly status: CallStatus;
  /** Whether calls to a path may be refused. */
  applies(path: string): boolean;
  onRefused(path: string): void;
}

/** `add` adds a service. `with` adds middleware only to the services that are added to its result. */
export interface GrpcServer<Ext = PeerContext> extends ServerAddBuilder<Ext> {
  /** Returns a server with one more middleware for its services. Middleware that is added first runs first. */
  use<More>(middleware: ServerMiddleware<More, Ext>): GrpcServer<Ext & More>;
  /** Listens on an address such as `127.0.0.1:50051`. Returns the port. Can be called for several addresses. */
  listen(address: string, tls?: ServerTls): Promise<number>;
  /** Uses another certificate for new connections. */
  setTls(tls: ServerTls): void;
  /**
   * Starts a call within this process. `fields` is its header, with `:path`, `:method` and `content-type`. `connection`
   * is that of the client.
   */
  call(fields: HeaderFields, connection: Connection): ClientStream;
  /**
   * Refuses new connections and new calls. Open calls are still served. Clients retry refused calls on other
   * connections. Resolves when all connections are closed.
   */
  stopAccepting(): Promise<void>;
  /** Ends the open calls for which `errorOf` returns an error, with the status of that error. */
  endCalls(errorOf: (call: CallInfo) => unknown): void;
  /** The number of calls that have not closed yet. */
  readonly openCalls: number;
  /** The number of open calls of each method, by its path, and under '' for paths without a method. */
  countOpenCalls(): Map<string, number>;
  /** Refuses new connections, and lets all calls finish. Resolves when all connections are closed. */
  shutdown(): Promise<void>;
  /** Ends all calls and connections. */
  forceShutdown(): void;
}

const mib = 1024 * 1024;

const defaultConnections: ConnectionOptions = {
  concurrentCallsMax: 4096,
  ageMsMax: 0,
  ageGraceMs: 60_000,
  keepaliveMs: 2 * 3_600_000,
  keepaliveTimeoutMs: 20_000,
  idleMsMax: 3_600_000,
  handshakeMs: 10_000,
};

const plainOverload: Overload = {
  status: { code: Status.RESOURCE_EXHAUSTED, message: 'Too many calls are in flight.' },
  applies: () => true,
  onRefused() {},
};

export function createServer(options: ServerOptions = {}): GrpcServer {
  return serverWith(new CallServer(options), undefined);
}

function serverWith<Ext>(server: CallServer, middleware: ServerMiddleware<Ext> | undefined): GrpcServer<Ext> {
  return {
    ...addBuilder(server, middleware),
    use: (next) => serverWith(server, compose(middleware, next)),
    listen: (address, tls) => server.listen(address, tls),
    setTls: (tls) => server.setTls(tls),
    call: (fields, connection) => server.call(fields, connection),
    stopAccepting: () => server.stopAccepting(),
    endCalls: (errorOf) => server.endCalls(errorOf),
    get openCalls() {
      return server.openCalls;
    },
    countOpenCalls: () => server.countOpenCalls(),
    shutdown: () => server.shutdown(),
    forceShutdown: () => server.forceShutdown(),
  };
}

function addBuilder<Ext>(server: CallServer, middleware: ServerMiddleware<Ext> | undefined): ServerAddBuilder<Ext> {
  return {
    with: (next) => addBuilder(server, compose(middleware, next)),
    add: (definition, implementation) => server.add(definition, implementation, middleware as ServerMiddleware),
  };
}

function compose<Ext, More>(
  first: ServerMiddleware<Ext> | undefined,
  next: ServerMiddleware<More, Ext>,
): ServerMiddleware<Ext & More> {
  return first === undefined ? (next as never) : composeServerMiddleware(first, next);
}

class CallServer implements StreamAcceptor {
  readonly #methods = new Map<string, ServedMethod>();
  readonly #listeners: Listener[] = [];
  readonly #calls = new Set<ServerCall>();
  readonly #limits: CallLimits;
  readonly #connections: ConnectionOptions;
  readonly #timers: readonly NodeJS.Timeout[];
  readonly #overload: Overload;
  readonly #excessResponse: HeaderFields;
  #paused: ListenerConnection[] = [];
  #emptied: (() => void) | undefined;

  constructor(private readonly options: ServerOptions) {
    this.#connections = { ...defaultConnections, ...options.connections };
    this.#overload = options.overload ?? plainOverload;
    this.#excessResponse = statusResponse(this.#overload.status);
    const { responseBytesMax, compressResponses, stallTimeoutMs, connectionBytesMax, budget } = options;
    this.#limits = {
      responseBytesMax: responseBytesMax ?? 4 * mib,
      compressResponses: compressResponses ?? false,
      stallTimeoutMs: stallTimeoutMs ?? 60_000,
      connectionBytesMax: connectionBytesMax ?? 64 * mib,
      budget,
      admission: new Admission({ onWaste: (caller) => this.#pause(caller) }),
    };
    const checkProgress = () => {
      const nowMs = performance.now();
      for (const call of [...this.#calls]) call.checkProgress(nowMs);
    };
    this.#timers = [
      setInterval(checkProgress, this.#limits.stallTimeoutMs / 4).unref(),
      setInterval(() => this.#measure(), measureMs).unref(),
    ];
  }

  #measure(): void {
    this.#limits.admission.measure();
    for (const connection of this.#paused.splice(0)) connection.resumeReading();
  }

  /** In the rest of the interval, the caller's clients cost nothing: what they send waits in them. */
  #pause(caller: UnaryCalls): void {
    for (const connection of this.#listeners.flatMap((listener) => [...listener.connections])) {
      if (connection.use.caller !== caller) continue;
      connection.pauseReading();
      this.#paused.push(connection);
    }
  }

  get openCalls(): number {
    return this.#calls.size;
  }

  countOpenCalls(): Map<string, number> {
    const counts = new Map([...this.#methods.keys()].map((path) => [path, 0]));
    for (const { isKnownMethod, path } of this.#calls) {
      const key = isKnownMethod ? path : '';
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return counts;
  }

  add(definition: CompatServiceDefinition, implementation: object, middleware: ServerMiddleware | undefined): void {
    const requestBytesMax = this.options.requestBytesMax ?? (() => 4 * mib);
    for (const method of servedMethods(definition, implementation, { requestBytesMax, middleware })) {
      this.#methods.set(method.path, method);
    }
  }

  async listen(address: string, tls: ServerTls | undefined): Promise<number> {
    const { host, port } = parseAddress(address);
    const { http2 = 'own', budget } = this.options;
    const listener = createListener(http2, this, { connections: this.#connections, tls, budget });
    const listened = await listener.listen(host, port);
    this.#listeners.push(listener);
    return listened;
  }

  setTls(tls: ServerTls): void {
    for (const listener of this.#listeners) listener.setTls(tls);
  }

  call(fields: HeaderFields, connection: Connection): ClientStream {
    return openMemoryStream(this, fields, connection);
  }

  async stopAccepting(): Promise<void> {
    for (const listener of this.#listeners) listener.stopAccepting();
    await Promise.all(this.#listeners.map((listener) => listener.closed()));
  }

  endCalls(errorOf: (call: CallInfo) => unknown): void {
    for (const call of [...this.#calls]) {
      const error = errorOf(call);
      if (error !== undefined) call.end(error);
    }
  }

  async shutdown(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.shutdown()));
    // Calls within this process have no connection.
    while (this.#calls.size > 0) {
      await new Promise<void>((resolve) => {
        this.#emptied = resolve;
      });
    }
    this.#clearTimers();
  }

  #clearTimers(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  forceShutdown(): void {
    this.#clearTimers();
    this.endCalls(() => callError('SHUTDOWN', 'The server is stopping.'));
    for (const listener of this.#listeners.splice(0)) listener.destroy();
  }

  /** Refuses a unary call before its caller is checked, which was the caller of all calls of the connection. */
  refusal({ use, behindMs }: Connection, fields: HeaderFields): HeaderFields | undefined {
    const { admission } = this.#limits;
    const caller = use?.caller;
    if (caller === undefined || caller === 'several' || !admission.mayRefuse(caller, behindMs)) return undefined;
    const path = fieldOf(fields, ':path') ?? '';
    const method = this.#methods.get(path);
    const isUnary = method !== undefined && !method.requestStream && !method.responseStream;
    if (!isUnary || !this.#overload.applies(path) || httpStatusOf(fields) !== undefined) return undefined;
    const timeout = fieldOf(fields, 'grpc-timeout');
    const timeoutMs = timeout === undefined ? undefined : parseTimeout(timeout);
    if (!admission.refuses(timeoutMs, caller, behindMs)) return undefined;
    this.#overload.onRefused(path);
    return this.#excessResponse;
  }

  accept(stream: TransportStream, fields: HeaderFields): StreamReceiver | undefined {
    const path = fieldOf(fields, ':path') ?? '';
    const call = new ServerCall(stream, path, fields, this.#methods.get(path), this.#limits, this.#onClosed);
    const httpStatus = httpStatusOf(fields);
    if (httpStatus !== undefined) {
      stream.sendOnly([':status', String(httpStatus)]);
      this.options.observe?.(call).onNotGrpc?.(httpStatus);
      return undefined;
    }
    this.#calls.add(call);
    call.start(this.options.observe ?? plainObserver, this.#admit);
    return call;
  }

  readonly #admit = (call: CallInfo): unknown => {
    const { budget, admit } = this.options;
    if (budget !== undefined && !budget.admits()) return callError('OVERLOADED', 'The server holds too many bytes.');
    return admit?.(call);
  };

  readonly #onClosed = (call: ServerCall): void => {
    this.#calls.delete(call);
    if (this.#calls.size === 0) this.#emptied?.();
  };
}

/** Throws a TypeError. Without a host, Node would listen on all interfaces. */
function parseAddress(address: string): { host: string; port: number } {
  const [, ipv6, name, port] = /^(?:\[([^\]]+)\]|([^:/]+)):(\d{1,5})$/.exec(address) ?? [];
  const host = ipv6 ?? name;
  if (host === undefined) throw new TypeError(`The address must be host:port, as in 127.0.0.1:50051: ${address}`);
  return { host, port: Number(port) };
}

const contentType = /^application\/grpc(?:\+proto)?(?:;|$)/i;

/** The HTTP status for a request that is not gRPC. */
function httpStatusOf(fields: HeaderFields): number | undefined {
  if (fieldOf(fields, ':method') !== 'POST') return 405;
  return contentType.test(fieldOf(fields, 'content-type') ?? '') ? undefined : 415;
}
