/** The options of the cluster test's command line. */
import { parseArgs } from 'node:util';
import { type Fault, faults } from './faults.js';
import type { Mode } from './start-patroni.js';
import type { Route } from './start-roster.js';

export interface Options {
  readonly rounds: number;
  readonly faults: readonly Fault[];
  readonly mode: Mode;
  readonly route: Route;
  readonly hasReplicas: boolean;
  readonly ttl: number;
  readonly keepsLogs: boolean;
}

export class UsageError extends Error {}

const modes: readonly Mode[] = ['sync', 'async'];
const routes: readonly Route[] = ['pgbouncer', 'haproxy', 'hosts'];
const names = faults.map(({ name }) => name);

export const helpText = `npm run test:cluster -- [options]
  --rounds N      rounds of each fault (1)
  --fault NAME    only this fault; may be repeated: ${names.join(', ')}
  --mode MODE     sync, or async, which loses acknowledged writes on purpose (sync)
  --route ROUTE   how Roster reaches the primary: ${routes.join(', ')} (pgbouncer)
  --replicas      let Roster read from all nodes (DATABASE_REPLICA_URLS)
  --ttl SECONDS   the leader's lease; Patroni 3.1 and later need at least 20 (8)
  --keep-logs     keep the logs, even if every round passes`;

/** Returns undefined for --help. Throws UsageError. */
export function optionsOf(args: string[]): Options | undefined {
  const { values } = parse(args);
  if (values.help) return undefined;
  const unknown = values.fault?.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new UsageError(`There is no fault ${unknown}.`);
  return {
    rounds: parseNumber('--rounds', values.rounds, 1),
    faults: faults.filter(({ name }) => values.fault?.includes(name) ?? true),
    mode: parseChoice('--mode', values.mode, modes),
    route: parseChoice('--route', values.route, routes),
    hasReplicas: values.replicas,
    // Patroni needs a ttl of at least loop_wait and twice retry_timeout.
    ttl: parseNumber('--ttl', values.ttl, 7),
    keepsLogs: values['keep-logs'],
  };
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        rounds: { type: 'string', default: '1' },
        fault: { type: 'string', multiple: true },
        mode: { type: 'string', default: 'sync' },
        route: { type: 'string', default: 'pgbouncer' },
        replicas: { type: 'boolean', default: false },
        ttl: { type: 'string', default: '8' },
        'keep-logs': { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function parseNumber(name: string, text: string, min: number): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < min)
    throw new UsageError(`${name} must be a whole number of at least ${min}.`);
  return number;
}

function parseChoice<T extends string>(name: string, text: string, choices: readonly T[]): T {
  const choice = choices.find((known) => known === text);
  if (choice === undefined) throw new UsageError(`${name} must be one of ${choices.join(', ')}.`);
  return choice;
}
