/** One round: a load, one fault in the middle of it, and the check of everything that clients were told. */
import { setTimeout as sleep } from 'node:timers/promises';
import { checkHistory } from './check-history.js';
import { readDirectory } from './directory-state.js';
import type { Fault, FaultTarget } from './faults.js';
import { createHistory, type History, secondsUntilWrites } from './history.js';
import { findProblems, type RoundResult } from './judge-round.js';
import { startLoad } from './load.js';
import { poll } from './poll.js';
import { readMembers, waitUntilComplete } from './start-patroni.js';
import { startTokenKeeper, startWatchers } from './watchers.js';
import { createWitness } from './witness.js';

// The load before the fault, and after the first writes on the new leader.
const beforeMs = 3_000;
const afterMs = 4_000;

// Writes on the new leader after which the load counts as running again.
const writesMin = 20;

export interface Cluster extends FaultTarget {
  /** Whether Roster's reads use all nodes. */
  readonly hasReplicas: boolean;
  /** The addresses of Roster's replicas. */
  readonly addresses: readonly string[];
  /** The users of earlier rounds. */
  readonly earlier: Set<string>;
}

export async function runRound(cluster: Cluster, fault: Fault): Promise<RoundResult> {
  const { nodes, mode, addresses, earlier } = cluster;
  await waitUntilComplete(nodes, mode);
  for (const id of (await readDirectory()).log.keys()) earlier.add(id);
  await using cleanUp = new AsyncDisposableStack();
  const history = createHistory();
  const watchers = await startWatchers(addresses);
  cleanUp.defer(() => watchers.stop());
  const keeper = await startTokenKeeper(addresses);
  cleanUp.defer(async () => void (await keeper.stop()));
  const witness = await createWitness(addresses, watchers, keeper);
  cleanUp.defer(() => witness.close());
  earlier.add(witness.userId);
  const load = startLoad(addresses, history);
  cleanUp.defer(() => load.stop());
  await sleep(beforeMs);
  const { atMs, leader, repair } = await fault.inject(cluster, witness.writeUnsent);
  const token = await keeper.stop();
  try {
    await waitForWrites(cluster, history, leader);
    await sleep(afterMs);
  } finally {
    repair();
  }
  await waitUntilComplete(nodes, mode);
  await load.stop();
  earlier.add(await watchers.catchUp());
  const { log, users } = await readDirectory();
  await watchers.stop();

  const logOfRound = new Map([...log].filter(([id]) => !earlier.has(id)));
  const findings = checkHistory(history, logOfRound);
  const round = {
    ...findings,
    history,
    resumeSeconds: secondsUntilWrites(history, atMs),
    startsOver: watchers.startsOver(),
  };
  return {
    ...round,
    problems: await findProblems(cluster, { fault, round, state: { log, users }, watchers, witness, token }),
  };
}

async function waitForWrites({ nodes }: Cluster, { writes }: History, oldLeader: string): Promise<void> {
  await poll('another node is the leader', 90_000, async () => {
    const name = (await readMembers(nodes)).find(({ role }) => role === 'leader')?.name;
    return name !== undefined && name !== oldLeader ? true : undefined;
  });
  const startMs = Date.now();
  await poll('writes succeed on the new leader', 90_000, async () => {
    const done = writes.filter((write) => write.outcome === 'acknowledged' && write.startMs > startMs);
    return done.length >= writesMin || undefined;
  });
}
