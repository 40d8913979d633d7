/**
 * The table of settings. An entry here is all that a new setting needs: parsing, `--help`, the check of
 * docs/configuration.md and the type of the configuration follow from it.
 *
 * The tables have the shape of the configuration: `grpc.address` of a table becomes `config.grpc.address`.
 */
import { databaseSettings } from './database-settings.js';
import {
  address,
  auditTarget,
  choice,
  choices,
  dayMs,
  descriptorsFile,
  file,
  hourMs,
  minuteMs,
  onOff,
  origins,
  pemFile,
  processes,
  target,
  wholeNumber,
} from './kinds.js';
import type { SettingTable } from './setting.js';

export const serverSettings = {
  database: databaseSettings,
  grpc: {
    address: {
      name: 'GRPC_ADDRESS',
      kind: address,
      default: 'localhost:50051',
      description: 'The address on which Roster serves gRPC. localhost means IPv4 and IPv6. Port 0 picks a free port.',
    },
    concurrentStreamsMax: {
      name: 'CONCURRENT_STREAMS_MAX',
      kind: wholeNumber(1, 1_000_000),
      default: 4096,
      description:
        "The maximum number of calls in flight on one client's connection, including watches. Further calls wait in the client.",
    },
    http2: {
      name: 'HTTP2_SERVER',
      kind: choice('own', 'node'),
      default: 'own',
      description:
        "Which implementation of HTTP/2 serves gRPC: Roster's own, or Node's, which needs about twice the CPU. Use node only to rule out a fault of the other one, and report that fault.",
    },
    connectionAgeMsMax: {
      name: 'CONNECTION_AGE_MS_MAX',
      kind: wholeNumber(1000, dayMs),
      default: 30 * minuteMs,
      description:
        "The age of a client's connection at which the server makes the client reconnect, so that load spreads again.",
    },
    connectionAgeGraceMs: {
      name: 'CONNECTION_AGE_GRACE_MS',
      kind: wholeNumber(0, dayMs),
      default: 5 * minuteMs,
      description: 'How long calls may continue on a connection that has reached CONNECTION_AGE_MS_MAX.',
    },
    keepaliveTimeMs: {
      name: 'KEEPALIVE_TIME_MS',
      // At most gRPC's own default.
      kind: wholeNumber(1000, 2 * hourMs),
      // Load balancers drop idle connections after a minute or more.
      default: 30_000,
      description: 'How long a client may be silent before the server sends a ping.',
    },
    keepaliveTimeoutMs: {
      name: 'KEEPALIVE_TIMEOUT_MS',
      kind: wholeNumber(1, 10 * minuteMs),
      // gRPC's own default.
      default: 20_000,
      description: 'How long the client may take to respond to the ping.',
    },
  },
  http: {
    address: {
      name: 'HTTP_ADDRESS',
      kind: address,
      default: 'localhost:8080',
      description:
        'The address for HTTP: the page, gRPC-Web, Connect, JSON, /metrics, /healthz and /readyz, with TLS if gRPC uses TLS. If the default is in use, `roster serve` runs without HTTP, and a log line says so.',
    },
    corsOrigins: {
      name: 'CORS_ORIGINS',
      kind: origins,
      unset: "the page's own origin",
      valueIfUnset: () => [],
      description:
        'Origins whose pages may send calls over HTTP; * allows all. Behind a proxy, add the origin that browsers see.',
    },
  },
  tls: {
    cert: {
      name: 'TLS_CERT',
      kind: pemFile,
      unset: 'no TLS',
      description: "The server's certificate in PEM, with any intermediate certificates. Needs TLS_KEY.",
    },
    key: {
      name: 'TLS_KEY',
      kind: pemFile,
      unset: 'no TLS',
      description: "The certificate's key in PEM, not encrypted.",
    },
    clientCa: {
      name: 'TLS_CLIENT_CA',
      kind: pemFile,
      unset: 'no client certificates',
      description:
        "Certificate authorities in PEM. One of them must have signed each client's certificate. Needs TLS_CERT and TLS_KEY.",
    },
    clientAuth: {
      name: 'TLS_CLIENT_AUTH',
      kind: choice('require', 'optional'),
      default: 'require',
      description:
        'Whether every client must have a certificate from TLS_CLIENT_CA; optional also lets in clients that send a token or an API key instead.',
    },
    insecure: {
      name: 'INSECURE',
      kind: onOff,
      default: false,
      description:
        'Allows serving without TLS, and without credentials unless AUTH is on, on addresses that other machines can reach.',
    },
  },
  auth: {
    mode: {
      name: 'AUTH',
      kind: choice('auto', 'on', 'off'),
      default: 'auto',
      description:
        'Whether each call needs credentials: a token, an API key or a client certificate. auto means on if ACCESS_FILE or TLS_CLIENT_CA is set, or if other machines can reach an address and INSECURE is false.',
    },
    accessFile: {
      name: 'ACCESS_FILE',
      kind: file,
      unset: 'only API keys, and client certificates with all rights',
      description:
        'A YAML file with the issuers of tokens, the roles of callers, and the attributes that only some roles may see. A change takes effect within seconds.',
    },
    openEndpoints: {
      name: 'OPEN_ENDPOINTS',
      kind: choices('health', 'reflection', 'metrics', 'openapi', 'page'),
      default: 'health,openapi,page',
      description:
        "The endpoints that need no credentials if AUTH is on: health is gRPC's health service, /healthz and /readyz; page is the page's files, which contain no data. A standalone gateway asks its target who may see the rest (docs/web.md).",
    },
  },
  workers: {
    name: 'WORKERS',
    kind: processes,
    default: 1,
    description:
      'The number of processes that serve on one port; auto means one for each core. Each has its own connections, queues and memory.',
  },
  log: {
    level: {
      name: 'LOG_LEVEL',
      kind: choice('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
      default: 'info',
      description:
        'The lowest level that is logged. Each call is one line: warn or error if the server failed, else info.',
    },
    format: {
      name: 'LOG_FORMAT',
      kind: choice('auto', 'pretty', 'json'),
      default: 'auto',
      description: 'The format of lines; auto means pretty on a terminal and JSON elsewhere.',
    },
  },
  auditLog: {
    name: 'AUDIT_LOG',
    kind: auditTarget,
    default: 'off',
    description:
      'Where each write, import, export, watch, change of an API key and refused call is recorded, as lines of JSON without personal data. A file may be renamed, or be on a disk that is full; the server goes on.',
  },
  batch: {
    rowsMax: {
      name: 'BATCH_ROWS_MAX',
      kind: wholeNumber(1, 4096),
      default: 256,
      description: 'The maximum number of calls that share one statement.',
    },
    queueRowsMax: {
      name: 'QUEUE_ROWS_MAX',
      kind: wholeNumber(1, 1_000_000),
      default: 10_000,
      description: 'The maximum number of calls that wait for a statement. Further calls fail with RESOURCE_EXHAUSTED.',
    },
  },
  streams: {
    connectionsMax: {
      name: 'STREAM_CONNECTIONS_MAX',
      kind: wholeNumber(1, 1000),
      default: 4,
      description:
        'Connections to Postgres for imports, exports and watches that begin with existing users, in each of WORKERS. Each of these calls needs one, and waits if all are in use. They are in addition to DATABASE_CONNECTIONS_MAX.',
    },
    stallTimeoutMs: {
      name: 'STREAM_STALL_TIMEOUT_MS',
      kind: wholeNumber(1000, hourMs),
      default: 30_000,
      description:
        'How long a client may send nothing in the middle of a message, and may leave messages unread. Also how long an import may send nothing. Over HTTP, also how long a client may take for the next 16 KiB of a request or a response.',
    },
    snapshotTimeoutMs: {
      name: 'SNAPSHOT_TIMEOUT_MS',
      kind: wholeNumber(1000, dayMs),
      default: 10 * minuteMs,
      description:
        'How long an export may keep its snapshot, which prevents Postgres from removing old rows. It can be resumed with a new snapshot. Also how long a watcher may take to read the existing users.',
    },
  },
  bufferedBytesMax: {
    name: 'BUFFERED_BYTES_MAX',
    kind: wholeNumber(1000, 1_000_000_000_000),
    default: 134_217_728,
    description:
      'The maximum number of bytes in requests that have not been processed yet and in responses that clients have not read yet, in each process, over gRPC and HTTP. From three quarters of it on, new calls fail with OVERLOADED. Above it, the calls of the slowest clients are ended.',
  },
  callers: {
    callsPerSecondMax: {
      name: 'CALLER_CALLS_PER_SECOND_MAX',
      kind: wholeNumber(0, 1_000_000),
      default: 0,
      description:
        'The maximum rate of calls of one caller; 0 means no limit. Further calls fail with RATE_LIMITED. A caller is the holder of a credential or, if AUTH is off, an IP address. Each of WORKERS and each server counts for itself.',
    },
    callsBurst: {
      name: 'CALLER_CALLS_BURST',
      kind: wholeNumber(1, 1_000_000),
      unset: 'the calls of one second',
      description: 'The number of calls that a caller may make at once before CALLER_CALLS_PER_SECOND_MAX applies.',
    },
    streamsMax: {
      name: 'CALLER_STREAMS_MAX',
      kind: wholeNumber(1, 1_000_000),
      default: 10_000,
      description: 'The maximum number of open streams of one caller: watches, exports, imports and resolves.',
    },
    watchesMax: {
      name: 'CALLER_WATCHES_MAX',
      kind: wholeNumber(1, 1_000_000),
      default: 5000,
      description: 'The maximum number of open watches of one caller.',
    },
    bytesMax: {
      name: 'CALLER_BYTES_MAX',
      kind: wholeNumber(1000, 1_000_000_000_000),
      // Half of BUFFERED_BYTES_MAX.
      default: 67_108_864,
      description:
        'The maximum number of bytes that each process holds for one caller, as in BUFFERED_BYTES_MAX. A call that exceeds it fails with RATE_LIMITED.',
    },
  },
  changes: {
    keptHours: {
      name: 'CHANGES_KEPT_HOURS',
      kind: wholeNumber(1, 8760),
      default: 168,
      description: 'How long the change log keeps changes, so that a disconnected watcher can resume.',
    },
    keptMax: {
      name: 'CHANGES_KEPT_MAX',
      kind: wholeNumber(1000, 1_000_000_000_000),
      // About 150 bytes each, indexes included.
      default: 10_000_000,
      description:
        'The maximum number of changes that the change log keeps. The oldest are deleted first. Set it above the number of users in the largest import.',
    },
  },
  listIndexes: {
    name: 'LIST_INDEXES',
    kind: choice('auto', 'all', 'none'),
    default: 'auto',
    description:
      'The indexes for lists by first_name and last_name and for searches by `query`, which make creates and imports slower: auto builds each in the background when a list needs it and there are more than 20,000 users, all builds all at the start, none builds none.',
  },
  searchIndex: {
    name: 'SEARCH_INDEX',
    kind: onOff,
    unset: 'LIST_INDEXES',
    description: 'Deprecated: set LIST_INDEXES. If that is unset, false means LIST_INDEXES=none.',
  },
  healthFile: {
    name: 'HEALTH_FILE',
    kind: file,
    unset: 'no file',
    description:
      'A file to which each process writes every second whether it serves, for the health check of the container image. Its name is this path, a dot and the process id.',
  },
  shutdown: {
    delayMs: {
      name: 'SHUTDOWN_DELAY_MS',
      kind: wholeNumber(0, 10 * minuteMs),
      default: 0,
      description:
        'How long health reports NOT_SERVING before the server stops taking calls. Behind a load balancer, use about 5000.',
    },
    timeoutMs: {
      name: 'SHUTDOWN_TIMEOUT_MS',
      kind: wholeNumber(0, 10 * minuteMs),
      default: 10_000,
      description: 'How long calls in flight may take after SHUTDOWN_DELAY_MS, before the server ends them.',
    },
  },
} as const satisfies SettingTable;

/** A standalone gateway has some settings of the server. */
export const gatewaySettings = {
  target: {
    name: 'TARGET',
    kind: target,
    default: 'localhost:50051',
    description: 'The gRPC server behind the gateway.',
  },
  descriptors: {
    name: 'DESCRIPTORS',
    kind: descriptorsFile,
    unset: "Roster's own",
    description: 'A file with the services of the target. Calls to other services fail with UNIMPLEMENTED.',
  },
  targetTls: {
    enabled: {
      name: 'TARGET_TLS',
      kind: onOff,
      unset: 'on if one of the files below is set',
      description: 'Whether the target uses TLS.',
    },
    ca: {
      name: 'TARGET_CA',
      kind: pemFile,
      unset: 'those of Node.js',
      description: "Certificate authorities in PEM. One of them must have signed the target's certificate.",
    },
    cert: {
      name: 'TARGET_CERT',
      kind: pemFile,
      unset: 'no client certificate',
      description: "The gateway's client certificate in PEM. Needs TARGET_KEY.",
    },
    key: {
      name: 'TARGET_KEY',
      kind: pemFile,
      unset: 'no client certificate',
      description: "The client certificate's key in PEM, not encrypted.",
    },
  },
  http: serverSettings.http,
  tls: serverSettings.tls,
  openEndpoints: serverSettings.auth.openEndpoints,
  log: serverSettings.log,
  stallTimeoutMs: serverSettings.streams.stallTimeoutMs,
  bufferedBytesMax: serverSettings.bufferedBytesMax,
  healthFile: serverSettings.healthFile,
  shutdown: {
    delayMs: serverSettings.shutdown.delayMs,
  },
} as const satisfies SettingTable;
