/** The settings of the commands that call a server. settings.ts explains such tables. */
import { addresses, hourMs, onOff, pemFile, token, wholeNumber } from './kinds.js';
import type { SettingTable } from './setting.js';

export const clientSettings = {
  addresses: {
    name: 'ROSTER_ADDRESS',
    kind: addresses,
    default: 'localhost:50051',
    description: 'The address of the server, or of several servers of one directory, separated by commas.',
  },
  token: {
    name: 'ROSTER_TOKEN',
    kind: token,
    unset: 'no token',
    description:
      "Sent with each call as a bearer token. Prefer the variable: other users of the machine can read a process's flags.",
  },
  tls: {
    enabled: {
      name: 'ROSTER_TLS',
      kind: onOff,
      unset: 'on if one of the files below is set',
      description: 'Whether calls use TLS.',
    },
    ca: {
      name: 'ROSTER_CA',
      kind: pemFile,
      unset: 'those of Node.js',
      description: "Certificate authorities in PEM. One of them must have signed the server's certificate.",
    },
    cert: {
      name: 'ROSTER_CERT',
      kind: pemFile,
      unset: 'no client certificate',
      description: "The client's certificate in PEM. Needs ROSTER_KEY.",
    },
    key: {
      name: 'ROSTER_KEY',
      kind: pemFile,
      unset: 'no client certificate',
      description: "The client certificate's key in PEM, not encrypted.",
    },
  },
  deadlineMs: {
    name: 'ROSTER_DEADLINE_MS',
    kind: wholeNumber(1, hourMs),
    default: 10_000,
    description: 'How long a call may take, including retries. Imports, exports and watches have no deadline.',
  },
} as const satisfies SettingTable;
