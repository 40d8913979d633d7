/**
 * Finds and deletes request ids, with which a repeated create returns the users of the first call. The statement that
 * creates the users stores the request id.
 */
import { arrayParameter } from '../database/columns.js';
import type { Database, Statement } from '../database/database.js';
import { RequestIdRow } from '../database/entities/request-id-row.js';

/** Identifies a repeated call. The digest shows whether the request is the same. */
export interface RequestKey {
  id: string;
  digest: Buffer;
}

/** Users that an earlier call with the same request id created. */
export interface Repeated {
  readonly repeatedUserIds: readonly string[];
}

export type RepeatOutcome = Repeated | 'REQUEST_ID_REUSED';

/** How long a request id is kept. The contract promises this. */
export const requestAge = `interval '24 hours'`;

/**
 * The end of an insert into request_ids. A user must not be created without its request id. So if another transaction
 * has stored the id since this statement's snapshot, this sets a null that violates a constraint, which undoes the
 * whole statement. `lostRace` recognizes the error.
 */
export const rememberRequest = `
  on conflict (request_id) do update set
    digest = excluded.digest,
    create_time = excluded.create_time,
    user_ids = case when request_ids.create_time <= now() - ${requestAge} then excluded.user_ids end`;

export function repeatOutcome(isSame: boolean, userIds: readonly string[]): RepeatOutcome {
  return isSame ? { repeatedUserIds: userIds } : 'REQUEST_ID_REUSED';
}

/**
 * The stored request for the request id of a row of `rows`. A lateral join looks up each row. With a plain join, the
 * planner may read all requests of the last 24 hours for each call.
 */
export const storedRequest = (rows: string) => `
  lateral (
    select digest, user_ids from request_ids
    where request_ids.request_id = ${rows}.request_id and create_time > now() - ${requestAge} limit 1
  ) as stored`;

const findStatement: Statement = {
  name: 'find-requests',
  text: `
    select input.row::integer - 1, stored.digest = input.digest, stored.user_ids
    from unnest(${arrayParameter(1, 'uuid')}, ${arrayParameter(2, 'bytea')}) with ordinality as input(request_id, digest, row)
      cross join ${storedRequest('input')}`,
};

/** Returns the outcome for each request, or undefined if its id is new. */
export async function findRequests(
  database: Database,
  requests: readonly RequestKey[],
): Promise<(RepeatOutcome | undefined)[]> {
  if (requests.length === 0) return [];
  const rows = await database.run(findStatement, [requests.map(({ id }) => id), requests.map(({ digest }) => digest)]);
  const outcomes = new Map(
    (rows as [number, boolean, string[]][]).map(([index, isSame, ids]) => [index, repeatOutcome(isSame, ids)]),
  );
  return requests.map((_, index) => outcomes.get(index));
}

/** Deletes up to `rowsMax` expired request ids that no other transaction has locked. Returns their number. */
export function deleteExpiredRequests(database: Database, rowsMax: number): Promise<number> {
  return database.orm(async (manager) => {
    const expired = manager
      .createQueryBuilder(RequestIdRow, 'request')
      .select('request.requestId')
      .where(`request.createTime <= now() - ${requestAge}`)
      .orderBy('request.createTime')
      .limit(rowsMax)
      .setLock('pessimistic_write')
      .setOnLocked('skip_locked');
    const deletion = manager.createQueryBuilder().delete().from(RequestIdRow);
    const { affected } = await deletion.where(`request_id in (${expired.getQuery()})`).execute();
    return affected ?? 0;
  });
}
