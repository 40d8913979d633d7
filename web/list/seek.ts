/**
 * Finds a user far away in the list. The server has no pages by number, so this guesses a key between two known ones,
 * counts the users after it, and guesses again.
 */
import type { ListQuery } from '../address/list-query.js';
import type { UserReader } from '../calls/directory.js';
import { keyBetween } from '../users/key-between.js';
import {
  conditionBefore,
  conditionFrom,
  conditionInGroup,
  greatestId,
  idMin,
  keyBefore,
  reversed,
  typeGroups,
  withCondition,
} from '../users/order-keys.js';
import { createUserOrder, isAttributeOrder, type OrderKey, type UserOrder } from '../users/user-order.js';

export interface SeekOptions {
  readonly directory: UserReader;
  readonly query: ListQuery;
  /** The part of the list in which to search. It begins after `low`, and ends before `high` or with the list. */
  readonly low: OrderKey;
  readonly high: OrderKey | undefined;
  /** About how many users the part has. */
  readonly count: number;
  /** How many users to find before the end of the part, and how far from that the result may be. */
  readonly fromEnd: number;
  readonly tolerance: number;
  readonly signal: AbortSignal;
}

export interface Place {
  /** The key of the first user at this place. */
  readonly key: OrderKey;
  /** The number of users from this place to the end of the part. */
  readonly fromEnd: number;
  /** False for an estimate. */
  readonly isCounted: boolean;
}

/** As in the contract of ListUsers. */
const pageMax = 1000;
/** So few users before the end of the part are read instead of counted. */
const nearMax = 500;
const guessesMax = 24;
const guessesBeforeWalk = 7;
/** From this guess on, every second one assumes that many users have the same value. */
const guessesPlain = 2;
const clockDifferenceMs = 60_000;

/** Returns undefined if it finds nobody. */
export function seek(options: SeekOptions): Promise<Place | undefined> {
  const { low, count, query } = options;
  if (isAttributeOrder(query.orderBy)) return seekAttribute(options);
  return seekFrom({ key: low, fromEnd: count, isCounted: false }, options);
}

/** Searches one type of value after another, because no value is between two types. */
async function seekAttribute(options: SeekOptions): Promise<Place | undefined> {
  const { directory, query, low, high, fromEnd, signal } = options;
  const order = createUserOrder(query.orderBy);
  let usersAfter = 0;
  const { filter, orderBy } = query;
  const isBefore = high === undefined ? '' : ` && ${conditionBefore(orderBy, high)}`;
  for (const group of typeGroups(orderBy).reverse()) {
    const groupQuery = { ...query, filter: withCondition(filter, group) };
    const { users, totalSize } = await directory.listUsers(
      {
        ...query,
        filter: withCondition(filter, `${group} && ${conditionFrom(orderBy, low)}${isBefore}`),
        pageSize: 1,
        includeTotalSize: true,
      },
      { signal },
    );
    const count = Number(totalSize ?? 0);
    const first = users[0] && order.keyOf(users[0]);
    if (first !== undefined && usersAfter + count >= fromEnd) {
      const place = await seekFrom(
        { key: first, fromEnd: count, isCounted: true },
        {
          ...options,
          query: groupQuery,
          low: keyBefore(first),
          high: high !== undefined && typeof high.value === typeof first.value ? high : undefined,
          fromEnd: fromEnd - usersAfter,
        },
      );
      return place && { ...place, fromEnd: place.fromEnd + usersAfter };
    }
    usersAfter += count;
  }
  return undefined;
}

async function seekFrom(start: Place, options: SeekOptions): Promise<Place | undefined> {
  const { query, fromEnd, tolerance } = options;
  const order = createUserOrder(query.orderBy);
  const isAttribute = isAttributeOrder(query.orderBy);
  const near = fromEnd <= nearMax ? await placeBeforeEnd(options, order) : undefined;
  if (near !== undefined) return near;
  let low = start;
  let high: Place = { key: options.high ?? (await lastKey(options, order)) ?? low.key, fromEnd: 0, isCounted: true };
  let best: Place | undefined;
  /** How many guesses in a row were on the same side: positive if too near to the end. */
  let run = 0;
  for (let guesses = 0; guesses < guessesMax; guesses++) {
    // The ids of one import can be so close together that guesses do not separate them.
    const walkMax = guesses < guessesBeforeWalk ? pageMax : 10 * pageMax;
    if (low.isCounted && low.fromEnd - fromEnd < walkMax) return walkFrom(options, low, order);
    const guess = guessBetween(low, high, fromEnd, { guesses, isStuck: Math.abs(run) > 1, isAttribute });
    if (order.compare(guess, low.key) <= 0 || order.compare(guess, high.key) >= 0) continue;
    const place = await placeFrom(options, guess, order);
    if (place.fromEnd > 0 && (best === undefined || missOf(place, fromEnd) < missOf(best, fromEnd))) best = place;
    if (best !== undefined && missOf(best, fromEnd) <= tolerance) break;
    const isBeyond = place.fromEnd < fromEnd;
    run = isBeyond ? Math.max(run, 0) + 1 : Math.min(run, 0) - 1;
    // No user is between a guess and the first user after it.
    if (isBeyond) high = { ...place, key: guess };
    else low = place;
  }
  return best;
}

const missOf = (place: Place, fromEnd: number) => Math.abs(place.fromEnd - fromEnd);

interface GuessState {
  readonly guesses: number;
  readonly isStuck: boolean;
  readonly isAttribute: boolean;
}

function guessBetween(low: Place, high: Place, fromEnd: number, state: GuessState): OrderKey {
  const { guesses, isStuck, isAttribute } = state;
  const { value } = low.key;
  if (value !== high.key.value && guesses >= guessesPlain) {
    // Many users may have the value of one of the ends. Interpolation between values would not find them.
    const turns = isAttribute ? 8 : 4;
    if (guesses % turns === 0) return keyBetween(low.key, { value, id: idAfter(low.key, isAttribute) }, 0.5);
    if (guesses % turns === turns / 2) return { value: high.key.value, id: idMin };
  }
  // If the keys are not evenly distributed, only halving makes progress.
  const size = low.fromEnd - high.fromEnd;
  // Values of attributes can have very different magnitudes.
  const isHalving = isStuck || size <= 0 || (isAttribute && guesses % 2 === 1);
  if (isHalving) return keyBetween(low.key, high.key, 0.5, isAttribute);
  return keyBetween(low.key, high.key, Math.min(0.98, Math.max(0.02, (low.fromEnd - fromEnd) / size)), isAttribute);
}

/** Reads the end of the part in the opposite order. Returns undefined if all users there have the same value. */
async function placeBeforeEnd(options: SeekOptions, order: UserOrder): Promise<Place | undefined> {
  const { directory, query, high, fromEnd, signal } = options;
  const filter =
    high === undefined ? query.filter : withCondition(query.filter, conditionInGroup(query.orderBy, high, '<'));
  const { users, nextPageToken } = await directory.listUsers(
    { ...query, filter, orderBy: reversed(query.orderBy), pageSize: fromEnd },
    { signal },
  );
  const keys = users.map(order.keyOf);
  // Ids ascend in both orders, so users with the last value may be missing.
  const lastValue = nextPageToken === '' ? undefined : keys.at(-1)?.value;
  const complete = keys
    .filter((key) => key.value !== lastValue && order.compare(key, options.low) > 0)
    .sort(order.compare);
  return complete[0] && { key: complete[0], fromEnd: complete.length, isCounted: true };
}

/** The greatest id that a user with the value can have. */
function idAfter({ value, id }: OrderKey, isAttribute: boolean): string {
  const greatest = greatestId((typeof value === 'number' && !isAttribute ? value : Date.now()) + clockDifferenceMs);
  return greatest > id ? greatest : greatestId(Date.now() + clockDifferenceMs);
}

/** Reads the first user from a key on, and counts the users from there to the end of the part. */
async function placeFrom(options: SeekOptions, key: OrderKey, order: UserOrder): Promise<Place> {
  const { directory, query, high, signal } = options;
  const { users, totalSize } = await directory.listUsers(
    { ...query, filter: filterFrom(key, query, high), pageSize: 1, includeTotalSize: true },
    { signal },
  );
  const fromEnd = users.length === 0 ? 0 : Number(totalSize ?? 0);
  return { key: users[0] === undefined ? key : order.keyOf(users[0]), fromEnd, isCounted: true };
}

/** Reads the users after a place, up to the wanted one. */
async function walkFrom(options: SeekOptions, start: Place, order: UserOrder): Promise<Place> {
  const { directory, query, high, fromEnd, signal } = options;
  let place = start;
  while (place.fromEnd > fromEnd) {
    const pageSize = Math.min(pageMax, place.fromEnd - fromEnd + 1);
    const { users } = await directory.listUsers(
      { ...query, filter: filterFrom(place.key, query, high), pageSize },
      { signal },
    );
    const last = users.at(-1);
    // The first user is the place itself. Without others, users were deleted meanwhile.
    if (last === undefined || users.length === 1) break;
    place = { ...place, key: order.keyOf(last), fromEnd: place.fromEnd - users.length + 1 };
  }
  return place;
}

/** The filter for the users of the part from a key on. */
function filterFrom(key: OrderKey, { filter, orderBy }: ListQuery, high: OrderKey | undefined): string {
  const from = conditionInGroup(orderBy, key, '>=');
  return withCondition(filter, high === undefined ? from : `${from} && ${conditionInGroup(orderBy, high, '<')}`);
}

/** A key that is not before any user. */
async function lastKey({ directory, query, signal }: SeekOptions, order: UserOrder): Promise<OrderKey | undefined> {
  const { users } = await directory.listUsers({ ...query, orderBy: reversed(query.orderBy), pageSize: 1 }, { signal });
  const key = users[0] && order.keyOf(users[0]);
  return key && { value: key.value, id: idAfter(key, isAttributeOrder(query.orderBy)) };
}
