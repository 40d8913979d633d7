/**
 * A model of a directory that is partitioned by user id over several databases, and still gives each email to one user. It
 * is not built: docs/sizing.md describes it. The model shows that its steps are correct if processes crash between them.
 *
 * Each `yield` ends a transaction in one database. Between two of them anything may happen, and a process that crashes never
 * continues.
 */

/** A row in the database that owns an email. Each attempt to get an email has a claim with a new id. */
interface Claim {
  readonly id: number;
  readonly userId: string;
}

interface UserRow {
  email: string;
  claimId: number;
}

/** One database, with claims of the emails that it owns, and the users that it owns. */
interface Shard {
  readonly claims: Map<string, Claim>;
  readonly users: Map<string, UserRow>;
  /** Claims that may not be used any more, because another process has decided that their attempt has crashed. */
  readonly refusedClaims: Set<number>;
  /** Claims to release, written in the transaction that made them useless. */
  readonly releases: Map<number, string>;
}

export type Outcome = 'done' | 'email taken' | 'no such user' | 'given up';
/** A process that makes one call. It can be left at each `yield`, which is a crash. */
export type Steps = Generator<undefined, Outcome>;

export interface ModelOptions {
  /** Leaves out a part of the design, to show that the test would notice. */
  readonly without?: 'refused claims' | 'the check of the user' | 'claim ids';
}

export class ShardedDirectory {
  readonly shards: readonly Shard[];
  #lastClaimId = 0;

  constructor(
    shards: number,
    private readonly options: ModelOptions = {},
  ) {
    this.shards = Array.from({ length: shards }, () => ({
      claims: new Map(),
      users: new Map(),
      refusedClaims: new Set(),
      releases: new Map(),
    }));
  }

  *create(userId: string, email: string): Steps {
    const claim = yield* this.#claim(email, userId);
    if (claim === undefined) return 'email taken';
    const shard = this.#shardOf(userId);
    if (shard.refusedClaims.has(claim.id)) return 'given up';
    shard.users.set(userId, { email, claimId: claim.id });
    yield;
    return 'done';
  }

  *changeEmail(userId: string, email: string): Steps {
    const claim = yield* this.#claim(email, userId);
    if (claim === undefined) return 'email taken';
    const shard = this.#shardOf(userId);
    const user = shard.users.get(userId);
    if (user === undefined || shard.refusedClaims.has(claim.id)) {
      // The claim stays. The next process that wants the email finds that no user has it.
      return user === undefined ? 'no such user' : 'given up';
    }
    shard.releases.set(user.claimId, user.email);
    shard.users.set(userId, { email, claimId: claim.id });
    yield;
    return 'done';
  }

  *delete(userId: string): Steps {
    const shard = this.#shardOf(userId);
    const user = shard.users.get(userId);
    if (user === undefined) return 'no such user';
    shard.releases.set(user.claimId, user.email);
    shard.users.delete(userId);
    yield;
    return 'done';
  }

  /** Background work of a database: releases emails whose users have changed or are gone. */
  *release(shard: Shard): Steps {
    for (const [claimId, email] of [...shard.releases]) {
      const { claims } = this.#shardOf(email);
      const claim = claims.get(email);
      if (claim !== undefined && (claim.id === claimId || this.options.without === 'claim ids')) claims.delete(email);
      yield;
      shard.releases.delete(claimId);
      yield;
    }
    return 'done';
  }

  *find(email: string): Generator<undefined, string | undefined> {
    const claim = this.#shardOf(email).claims.get(email);
    yield;
    if (claim === undefined) return undefined;
    const user = this.#shardOf(claim.userId).users.get(claim.userId);
    return user?.email === email ? claim.userId : undefined;
  }

  /** Returns undefined if another user has the email. */
  *#claim(email: string, userId: string): Generator<undefined, Claim | undefined> {
    const { claims } = this.#shardOf(email);
    const claim = { id: ++this.#lastClaimId, userId };
    while (true) {
      const other = claims.get(email);
      if (other === undefined) {
        claims.set(email, claim);
        yield;
        return claim;
      }
      yield;
      // The database of the other user decides. From here on, the other attempt cannot use its claim.
      const shard = this.#shardOf(other.userId);
      const isUsed = shard.users.get(other.userId)?.claimId === other.id;
      if (isUsed && this.options.without !== 'the check of the user') return undefined;
      if (this.options.without !== 'refused claims') shard.refusedClaims.add(other.id);
      yield;
      if (claims.get(email)?.id === other.id) claims.delete(email);
      yield;
    }
  }

  #shardOf(key: string): Shard {
    let hash = 0;
    for (const character of key) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
    return this.shards[hash % this.shards.length] as Shard;
  }
}
