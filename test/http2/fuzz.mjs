/**
 * Sends random sequences of frames to the built src/grpc-server over src/http2, over node:http2, and to stock nice-grpc:
 *
 * - Valid ones must be answered completely, with the same statuses, bodies and trailers by all three.
 * - Damaged ones must cause no exception in src/http2, leave no call and no memory behind, and not stop it from serving.
 *
 * `npm run fuzz -- --seconds 3600` runs for an hour. At a failure it prints the arguments that repeat the round.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { answerOf, runSequence } from './fuzz/client.mjs';
import { startServers } from './fuzz/echo-servers.mjs';
import { runMutation } from './fuzz/mutation.mjs';
import { createSequence } from './fuzz/sequence.mjs';
import { numberOption, randomFrom } from './random.mjs';

const seconds = numberOption('seconds', 20);
const firstSeed = numberOption('seed', Date.now() % 2 ** 31);
// Far above what the slowest machine needs. Nothing waits for it unless something is stuck.
const stuckMs = 60_000;
const callsMax = 20;
const sequencesPerRound = 4;
const mutationsPerRound = 100;
// The first rounds fill caches.
const warmUpRounds = 2;
const collectMsMax = 10_000;
const retainedBytesMax = 16 * 2 ** 20;
const internalError = 2;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');
const servers = await startServers();
const own = servers.find(({ name }) => name === 'own');
const counts = { calls: 0, mutations: 0, goaway: {} };
let seed = firstSeed;

function fail(error) {
  console.error(error);
  console.error(`Repeat with: npm run fuzz -- --seed ${seed} --seconds 0`);
  process.exit(1);
}
process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);

/** The statuses are the same on all servers. The texts of the servers' own errors may differ. */
async function compare(round) {
  const sequenceSeed = round(2 ** 31);
  const sequence = createSequence(randomFrom(sequenceSeed), callsMax);
  counts.calls += sequence.calls.length;
  for (const { name, port } of servers) {
    const streams = await runSequence(port, sequence, randomFrom(sequenceSeed)).catch((cause) => {
      throw new Error(`The sequence ${sequenceSeed} fails with the server ${name}.`, { cause });
    });
    for (const { id, fields, expected } of sequence.calls) {
      if (expected === undefined) continue;
      const answer = answerOf(streams.get(id));
      if (expected.hasAnyMessage) Object.assign(answer, { message: undefined, hasAnyMessage: true });
      assert.deepEqual(answer, expected, `The answer of ${name} on stream ${id} to ${JSON.stringify(fields)}`);
    }
  }
}

async function mutate(round) {
  const one = randomFrom(round(2 ** 31));
  const code = await runMutation(own.port, createSequence(one, 5), one);
  counts.mutations++;
  counts.goaway[code ?? 'none'] = (counts.goaway[code ?? 'none'] ?? 0) + 1;
  assert.notEqual(code, internalError, 'The server has sent INTERNAL_ERROR.');
}

async function expectNothingOpen() {
  const sockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
  const startedMs = performance.now();
  while (own.server.openCalls > 0 || sockets() > 0) {
    const isStuck = performance.now() - startedMs > stuckMs;
    assert(!isStuck, `${own.server.openCalls} calls and ${sockets()} sockets are still open.`);
    await delay(2);
  }
}

async function usedBytes() {
  collect();
  // Node frees some memory only after the turn in which it was collected.
  await delay(50);
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function checkMemory() {
  const startedMs = performance.now();
  for (;;) {
    const moreBytes = (await usedBytes()) - firstBytes;
    if (moreBytes < retainedBytesMax) return;
    const isRetained = performance.now() - startedMs > collectMsMax;
    if (isRetained)
      fail(new Error(`The process holds ${moreBytes} bytes more than at seed ${firstSeed + warmUpRounds}.`));
  }
}

const startedMs = performance.now();
let firstBytes;
let rounds = 0;
do {
  const round = randomFrom(seed);
  await Promise.all(Array.from({ length: sequencesPerRound }, () => compare(round))).catch(fail);
  await Promise.all(Array.from({ length: mutationsPerRound }, () => mutate(round))).catch(fail);
  await expectNothingOpen().catch(fail);
  rounds++;
  seed++;
  if (rounds === warmUpRounds) firstBytes = await usedBytes();
  else if (rounds % 50 === 0) await checkMemory();
} while (performance.now() - startedMs < seconds * 1000);
if (firstBytes !== undefined) await checkMemory();

for (const { server } of servers) server.forceShutdown();
console.log(
  `Seeds ${firstSeed} to ${seed - 1}: ${counts.calls} valid calls on each of three servers were answered alike.`,
);
console.log(`${counts.mutations} damaged connections, with GOAWAY codes ${JSON.stringify(counts.goaway)}.`);
