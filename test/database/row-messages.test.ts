/** The rows in the stream from Postgres, however the network splits it. */
import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRowSplitter, receiveRowMessages } from '../../src/database/row-messages.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

type Cells = readonly (string | null)[];

function message(type: string, body: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.write(type, 'latin1');
  header.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([header, body]);
}

function rowOf(cells: Cells): Buffer {
  const count = Buffer.alloc(2);
  count.writeInt16BE(cells.length);
  const parts = cells.map((cell) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(cell === null ? -1 : Buffer.byteLength(cell));
    return Buffer.concat([length, Buffer.from(cell ?? '')]);
  });
  return message('D', Buffer.concat([count, ...parts]));
}

const cells = fc.array(fc.option(fc.string({ unit: 'grapheme', maxLength: 30 })), { maxLength: 5 });
const messages = fc.array(
  fc.oneof(
    cells.map((row) => ({ row, bytes: rowOf(row) })),
    fc
      .tuple(fc.constantFrom('C', 'Z', 'd', 'T'), fc.uint8Array({ maxLength: 40 }))
      .map(([type, body]) => ({ row: undefined, bytes: message(type, Buffer.from(body)) })),
  ),
  { maxLength: 12 },
);

describe('the rows in the stream from Postgres', () => {
  it('are the same however it is split, and the other messages keep their place', () => {
    fc.assert(
      fc.property(messages, fc.array(fc.nat(70), { minLength: 1, maxLength: 30 }), (sent, sizes) => {
        const received: (Cells | Buffer)[] = [];
        const receive = createRowSplitter(
          (row) => received.push(row.fields),
          (bytes) => {
            const last = received.at(-1);
            if (Buffer.isBuffer(last)) received[received.length - 1] = Buffer.concat([last, bytes]);
            else received.push(Buffer.from(bytes));
          },
        );
        const stream = Buffer.concat(sent.map(({ bytes }) => bytes));
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const size = 1 + (sizes[turn % sizes.length] ?? 0);
          receive(stream.subarray(at, at + size));
          at += size;
        }
        const expected: (Cells | Buffer)[] = [];
        for (const { row, bytes } of sent) {
          const last = expected.at(-1);
          if (row !== undefined) expected.push(row);
          else if (Buffer.isBuffer(last)) expected[expected.length - 1] = Buffer.concat([last, bytes]);
          else expected.push(bytes);
        }
        expect(received).toEqual(expected);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('a connection', () => {
  let testDatabase: TestDatabase;
  beforeAll(async () => {
    testDatabase = await createTestDatabase();
  });
  afterAll(async () => {
    await testDatabase?.[Symbol.asyncDispose]();
  });

  it("returns the driver's own queries as before, also rows that are larger than a packet", async () => {
    const client = new pg.Client({ connectionString: testDatabase.url });
    receiveRowMessages(client);
    await client.connect();
    try {
      const text = `select i, repeat('ä', i * 40000) as text, null as nothing from generate_series(1, 5) as i`;
      const expected = Array.from({ length: 5 }, (_, index) => ({
        i: index + 1,
        text: 'ä'.repeat((index + 1) * 40_000),
        nothing: null,
      }));
      expect((await client.query(text)).rows).toEqual(expected);
      expect((await client.query({ text, name: 'named', values: [] })).rows).toEqual(expected);
    } finally {
      await client.end();
    }
  });
});
