/**
 * The consistency tokens of writes. A read that carries one sees the write, even if a replica serves the read.
 *
 * A token is a position in Postgres' write-ahead log (WAL), and names the server whose log that is. Tokens of one server
 * have one length, so the greater text is the newer token (docs/decisions/0046-reads-may-go-to-replicas.md).
 *
 * After a failover the log continues on a new timeline, and a server may still have the rest of the old one. So a position
 * is the timeline, and then the byte in it.
 */
import { createHash } from 'node:crypto';

/** The name of the trailer of a write, and of the metadata of a read. */
export const consistencyKey = 'x-roster-consistency';

/** A client sends this instead of a token to read the current state, from the primary. */
export const latestToken = 'latest';

/** Lets a read use a replica, which may lag. Returns the consistency token that the client sent, or an empty text. */
export type MayLag = () => string;

/** A database server with its copies, which have the same log. */
export interface LogOrigin {
  /** Postgres' system_identifier, which a physical replica shares with its primary. */
  readonly systemId: string;
  readonly databaseOid: string;
}

const version = '1';
const originDigits = 16;
// 32 bits of the timeline, and 64 of the byte.
const positionDigits = 24;
// Clients and proxies may join several tokens with commas. More than these are not read.
const charactersMax = 1000;
const form = new RegExp(`^${version}\\.([0-9a-f]{${originDigits}})\\.([0-9a-f]{${positionDigits}})$`);

/** `timeline` is in hexadecimal digits, as at the start of the name of a file of the log. */
export function logPosition(timeline: string, byte: bigint): bigint {
  return (BigInt(`0x${timeline}`) << 64n) | byte;
}

export function timelineOf(position: bigint): bigint {
  return position >> 64n;
}

export interface ConsistencyTokens {
  tokenOf(position: bigint): string;
  /**
   * Returns the greatest position of the tokens in a text, which may be separated by commas. Returns undefined if one of
   * them is malformed or of another server.
   */
  positionOf(text: string): bigint | undefined;
}

export function createConsistencyTokens({ systemId, databaseOid }: LogOrigin): ConsistencyTokens {
  // Hashed, because clients need not know the server's identifiers.
  const origin = createHash('sha256').update(`${systemId} ${databaseOid}`).digest('hex').slice(0, originDigits);

  function readOne(token: string): bigint | undefined {
    const [matches, from, position] = form.exec(token) ?? [];
    return matches !== undefined && from === origin ? BigInt(`0x${position}`) : undefined;
  }

  return {
    tokenOf: (position) => `${version}.${origin}.${position.toString(16).padStart(positionDigits, '0')}`,

    positionOf(text) {
      if (text.length > charactersMax) return undefined;
      let newest: bigint | undefined;
      for (const token of text.split(',')) {
        const position = readOne(token.trim());
        if (position === undefined) return undefined;
        if (newest === undefined || position > newest) newest = position;
      }
      return newest;
    },
  };
}
