/** The settings of the database, a part of the table in settings.ts. */
import { join } from 'node:path';
import { sessionAttributes, sslModes, sslNegotiations } from '../postgres-url.js';
import {
  choice,
  databasePassword,
  databaseText,
  databaseUrl,
  databaseUrls,
  dayMs,
  folder,
  hourMs,
  minuteMs,
  onOff,
  pemFile,
  secretFile,
  wholeNumber,
} from './kinds.js';
import { packageRoot } from './package-root.js';
import type { SettingTable } from './setting.js';

export const databaseSettings = {
  url: {
    name: 'DATABASE_URL',
    kind: databaseUrl,
    unset: 'the embedded Postgres',
    description:
      "The Postgres (15 to 18) that stores the users. Prefer the variable: other users of the machine can read a process's flags.",
  },
  urlFile: {
    name: 'DATABASE_URL_FILE',
    kind: secretFile,
    unset: 'none',
    description: 'A file with the DATABASE_URL, such as a Docker secret. Roster reads it at the start.',
  },
  parts: {
    host: {
      name: 'PGHOST',
      kind: databaseText('a host, several separated by commas, or the folder of a Unix socket', '<host,...>'),
      unset: 'none',
      description:
        'The host of the database. Without DATABASE_URL, Roster uses this and the following settings if PGHOST and PGDATABASE are both set. With DATABASE_URL, they are the parts that the URL leaves out.',
    },
    port: {
      name: 'PGPORT',
      kind: databaseText('a port, or one for each host, separated by commas', '<port>'),
      unset: '5432',
      description: 'The port of the database.',
    },
    dbname: {
      name: 'PGDATABASE',
      kind: databaseText('any text', '<name>'),
      unset: 'none',
      description: 'The name of the database.',
    },
    user: {
      name: 'PGUSER',
      kind: databaseText('any text', '<role>'),
      unset: 'the user of the operating system',
      description: 'The role that logs in.',
    },
    password: {
      name: 'PGPASSWORD',
      kind: databasePassword,
      unset: 'PGPASSWORD_FILE or ~/.pgpass',
      description: "The role's password, with any characters. Prefer PGPASSWORD_FILE.",
    },
    password_file: {
      name: 'PGPASSWORD_FILE',
      kind: secretFile,
      unset: 'none',
      description:
        "A file with the role's password, such as a Docker secret. Roster reads it for each new connection, so a new password needs no restart. It wins over PGPASSWORD.",
    },
    sslmode: {
      name: 'PGSSLMODE',
      kind: choice(...sslModes),
      unset: 'disable; verify-full if PGSSLROOTCERT or PGSSLCERT is set',
      description: 'Whether connections use TLS, and what Roster checks, as in libpq (docs/operations.md).',
    },
    sslrootcert: {
      name: 'PGSSLROOTCERT',
      kind: databaseText('the path of a PEM file, or system', '<path>'),
      unset: 'those of Node.js',
      description: "Certificate authorities in PEM. One of them must have signed the database's certificate.",
    },
    sslcert: {
      name: 'PGSSLCERT',
      kind: pemFile,
      unset: 'no client certificate',
      description: "Roster's client certificate for the database in PEM. Needs PGSSLKEY.",
    },
    sslkey: {
      name: 'PGSSLKEY',
      kind: pemFile,
      unset: 'no client certificate',
      description: "The client certificate's key in PEM, not encrypted.",
    },
    sslnegotiation: {
      name: 'PGSSLNEGOTIATION',
      kind: choice(...sslNegotiations),
      unset: 'postgres',
      description:
        'How TLS starts: direct saves a round trip, and needs Postgres 17 and PGSSLMODE=require or stricter.',
    },
    target_session_attrs: {
      name: 'PGTARGETSESSIONATTRS',
      kind: choice(...sessionAttributes),
      unset: 'read-write if there are several hosts, else any',
      description:
        'Which of several hosts Roster uses: the first that accepts writes (read-write), is not a standby (primary), or answers (any).',
    },
  },
  directUrl: {
    name: 'DATABASE_DIRECT_URL',
    kind: databaseUrl,
    unset: 'DATABASE_URL',
    description:
      'The same database without the connection pooler, for work that needs a session: imports, exports, watches that begin with existing users, migrations and building indexes.',
  },
  replicaUrls: {
    name: 'DATABASE_REPLICA_URLS',
    kind: databaseUrls,
    unset: 'all reads use DATABASE_URL',
    description:
      'Streaming replicas of the database, for reads that may be slightly stale (docs/operations.md#read-replicas). Each host is a replica; a comma in a URL separates two hosts. The PG… variables except PGHOST and PGTARGETSESSIONATTRS are the parts that the URLs leave out.',
  },
  replicaLagMsMax: {
    name: 'DATABASE_REPLICA_LAG_MS_MAX',
    kind: wholeNumber(1000, hourMs),
    default: 10_000,
    description: 'Reads do not use a replica whose data are older. Measured to half a second.',
  },
  dataDir: {
    name: 'DATA_DIR',
    kind: folder,
    unset: ".roster in the package's folder",
    valueIfUnset: () => join(packageRoot(), '.roster'),
    description: 'Where the embedded Postgres keeps its data. A relative path is relative to the working directory.',
  },
  connectionsMax: {
    name: 'DATABASE_CONNECTIONS_MAX',
    // One for each use in src/operations/connection-budget.ts.
    kind: wholeNumber(8, 1000),
    // Four workers with the other defaults use up to 92 of the 100 connections that Postgres allows by default.
    default: 18,
    description:
      'Connections to Postgres for calls, in each of WORKERS. At least 8, because each of eight uses has connections of its own (docs/operations.md). One more checks whether Postgres answers.',
  },
  connectTimeoutMs: {
    name: 'DATABASE_CONNECT_TIMEOUT_MS',
    kind: wholeNumber(1, 10 * minuteMs),
    default: 5000,
    description: 'How long a new connection to Postgres may take.',
  },
  connectionAgeMsMax: {
    name: 'DATABASE_CONNECTION_AGE_MS_MAX',
    kind: wholeNumber(1000, dayMs),
    default: 30 * minuteMs,
    description:
      'The age at which a shared connection is replaced, so that none stays connected to an old server. Each is replaced up to a quarter earlier, so that they are not all replaced at the same time.',
  },
  statementTimeoutMs: {
    name: 'STATEMENT_TIMEOUT_MS',
    kind: wholeNumber(1, hourMs),
    default: 30_000,
    description: 'How long Postgres may work on one statement.',
  },
  lockTimeoutMs: {
    name: 'LOCK_TIMEOUT_MS',
    kind: wholeNumber(1, hourMs),
    default: 5000,
    description: 'How long a statement may wait for one lock.',
  },
  preparedStatements: {
    name: 'PREPARED_STATEMENTS',
    kind: onOff,
    default: true,
    description:
      'Names frequent statements, so that Postgres parses them once. Set false for PgBouncer before 1.21 in transaction mode.',
  },
} as const satisfies SettingTable;
