/** Runs the model with random calls, in random order, and with crashes between any two transactions. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ModelOptions, type Outcome, ShardedDirectory, type Steps } from './email-claims.js';

const userIds = ['ada', 'grace', 'edsger', 'barbara'];
const emails = ['a@x', 'b@x', 'c@x'];

type Call =
  | { readonly kind: 'create' | 'change'; readonly userId: string; readonly email: string }
  | { readonly kind: 'delete'; readonly userId: string }
  | { readonly kind: 'release'; readonly shard: number };

interface Run {
  readonly calls: readonly Call[];
  /** For each transaction: which of the running calls does it, and whether it crashes afterwards. */
  readonly schedule: readonly { readonly next: number; readonly crashes: boolean }[];
}

const user = fc.constantFrom(...userIds);
const email = fc.constantFrom(...emails);
const shardCount = 3;
const runs: fc.Arbitrary<Run> = fc.record({
  calls: fc.array(
    fc.oneof(
      { arbitrary: fc.record({ kind: fc.constantFrom('create', 'change'), userId: user, email }), weight: 4 },
      { arbitrary: fc.record({ kind: fc.constant('delete'), userId: user }), weight: 1 },
      { arbitrary: fc.record({ kind: fc.constant('release'), shard: fc.nat(shardCount - 1) }), weight: 2 },
    ) as fc.Arbitrary<Call>,
    { minLength: 2, maxLength: 14 },
  ),
  schedule: fc.array(fc.record({ next: fc.nat(100), crashes: fc.nat(9).map((number) => number === 0) }), {
    maxLength: 80,
  }),
});

function stepsOf(directory: ShardedDirectory, call: Call): Steps {
  switch (call.kind) {
    case 'create':
      return directory.create(call.userId, call.email);
    case 'change':
      return directory.changeEmail(call.userId, call.email);
    case 'delete':
      return directory.delete(call.userId);
    case 'release':
      return directory.release(directory.shards[call.shard] as (typeof directory.shards)[number]);
  }
}

function finish<Result>(steps: Generator<undefined, Result>): Result {
  while (true) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

function emailsOf(directory: ShardedDirectory): string[] {
  return directory.shards.flatMap(({ users }) => [...users.values()].map(({ email }) => email));
}

function check({ calls, schedule }: Run, options?: ModelOptions): void {
  const directory = new ShardedDirectory(shardCount, options);
  // A new user has a new id, so no id is created twice.
  const created = new Set<string>();
  const waiting = calls.filter((call) => {
    if (call.kind !== 'create') return true;
    const isNew = !created.has(call.userId);
    created.add(call.userId);
    return isNew;
  });
  const running = waiting.map((call) => stepsOf(directory, call));
  for (const { next, crashes } of schedule) {
    if (running.length === 0) break;
    const index = next % running.length;
    const isDone = running[index]?.next().done === true;
    if (isDone || crashes) running.splice(index, 1);
    const held = emailsOf(directory);
    expect(new Set(held).size).toBe(held.length);
    // An email of a user always leads to it.
    for (const { users } of directory.shards) {
      for (const [id, { email }] of users) expect(finish(directory.find(email))).toBe(id);
    }
  }
  // All other processes crash. Then every email that no user has can be given to a new user, and no other one.
  for (const shard of directory.shards) finish(directory.release(shard));
  for (const [index, email] of emails.entries()) {
    const expected: Outcome = emailsOf(directory).includes(email) ? 'email taken' : 'done';
    expect(finish(directory.create(`new ${index}`, email))).toBe(expected);
  }
}

describe('emails of a partitioned directory, which is a design and not built,', () => {
  it('belong to one user each, and none is lost, in whatever order processes work and crash', () => {
    fc.assert(
      fc.property(runs, (run) => check(run)),
      { numRuns: 5_000 },
    );
  });

  it.each(['refused claims', 'the check of the user', 'claim ids'] as const)(
    'would be lost or belong to several users without %s',
    (without) => {
      const { failed } = fc.check(
        fc.property(runs, (run) => check(run, { without })),
        { numRuns: 50_000, seed: 1, endOnFailure: true },
      );
      expect(failed).toBe(true);
    },
  );
});
