/** Decides whether a round has passed, and says why not. */
import { faultsInLog } from '../support/feed-checker.js';
import type { Findings } from './check-history.js';
import type { DirectoryState } from './directory-state.js';
import type { Fault } from './faults.js';
import type { History, Write } from './history.js';
import type { Cluster } from './round.js';
import { faultsOfWatchers, isTokenExpired, type RoundWatchers } from './watchers.js';
import type { Witness } from './witness.js';

// With a lease of 20 s, a longer outage is a fault of Roster or of this setup.
const resumeSecondsMax = 30;

// Enough to see what kind of fault it is.
const examplesMax = 3;

export interface RoundNumbers extends Findings {
  readonly history: History;
  /** From the fault until writes were acknowledged again. */
  readonly resumeSeconds: number;
  /** How often watchers were told to start over with all users. */
  readonly startsOver: number;
}

export interface RoundResult extends RoundNumbers {
  /** Why the round has failed. Empty if it has passed. */
  readonly problems: readonly string[];
}

export interface Evidence {
  readonly fault: Fault;
  readonly round: RoundNumbers;
  readonly state: DirectoryState;
  readonly watchers: RoundWatchers;
  readonly witness: Witness;
  /** A resume token from just before the fault. */
  readonly token: string;
}

export async function findProblems(cluster: Cluster, evidence: Evidence): Promise<string[]> {
  const { round, state, watchers } = evidence;
  const problems = [
    ...examples('the change log and the table differ', faultsInLog(state.log, state.users)),
    ...examples('a watcher has received something else than the change log', faultsOfWatchers(watchers, state)),
  ];
  if (round.doubled > 0) problems.push(`${round.doubled} changes were made twice, or by no call`);
  if (round.resumeSeconds > resumeSecondsMax) problems.push(`writes resumed after ${round.resumeSeconds} s`);
  const ofMode = cluster.mode === 'sync' ? problemsOfSync : problemsOfAsync;
  return [...problems, ...(await ofMode(cluster, evidence))];
}

function examples(what: string, faults: readonly string[]): string[] {
  if (faults.length === 0) return [];
  return [`${what} (${faults.length}): ${faults.slice(0, examplesMax).join('; ')}`];
}

/** Nothing that was acknowledged may be lost, so nothing may be refused either. */
async function problemsOfSync({ addresses, hasReplicas }: Cluster, { round, token }: Evidence): Promise<string[]> {
  const problems = [
    ...examples('acknowledged writes were lost', round.lost.map(describeWrite)),
    ...examples('writes were refused', round.wronglyRefused.map(describeWrite)),
  ];
  // A read of a replica may be older, unless it sends a token.
  const stale = round.reads.stale + (hasReplicas ? 0 : round.readsWithoutToken.stale);
  if (stale > 0) problems.push(`${stale} reads were older than an acknowledged write`);
  if (round.startsOver > 0) problems.push(`watchers started over ${round.startsOver} times`);
  if (await isTokenExpired(addresses, token)) problems.push('a token from before the fault was refused');
  return problems;
}

/** Acknowledged writes may be lost, but clients must be told. */
async function problemsOfAsync({ addresses }: Cluster, evidence: Evidence): Promise<string[]> {
  const { fault, round, watchers, witness, token } = evidence;
  if (!fault.mustLose) return [];
  if (round.lost.length === 0) return ['no acknowledged write was lost, so this round shows nothing'];
  const problems = watchers.all
    .filter(({ startsOver }) => startsOver === 0)
    .map(({ recording }) => `${recording.name} was not told to start over`);
  if (!(await isTokenExpired(addresses, token))) problems.push('a token of lost changes was accepted');
  if (!(await witness.isLostEtagRefused())) problems.push('the etag of a lost update was accepted');
  return problems;
}

function describeWrite({ kind, userId, version, code, startMs }: Write): string {
  return `${kind} ${userId} ${version === undefined ? '' : `version ${version} `}${code ?? ''} at ${new Date(startMs).toISOString()}`;
}
