/**
 * HPACK round trips between the built src/http2 and Go's implementation (go-hpack/), on random fields: blocks of Go's
 * encoder, which uses the dynamic table, changes its size and marks fields as sensitive, and blocks of our encoder. Both
 * must also agree on which damaged blocks are invalid, and on the fields of the others.
 *
 * It needs Go. `--seed N` repeats a run.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { HeaderDecoder } from '../../dist/src/http2/header-decoder.js';
import { encodedBytesMax, encodeFields } from '../../dist/src/http2/header-encoder.js';
import { installWith, inTemporaryFolder } from '../conformance/go.mjs';
import { numberOption, randomFrom } from './random.mjs';

const seed = numberOption('seed', Date.now() % 2 ** 31);
console.log(`seed ${seed}`);
const random = randomFrom(seed);
const limit = 10_000_000;
const hexOf = (texts) => texts.map((text) => Buffer.from(text, 'latin1').toString('hex'));
const outputLines = (text) => text.trim().split('\n');

await inTemporaryFolder((work) => {
  const program = join(work, 'go-hpack');
  installWith('go', ['build', '-o', program, '.'], { cwd: join(import.meta.dirname, 'go-hpack'), encoding: 'utf8' });
  const run = (args, input) => execFileSync(program, args, { encoding: 'utf8', input, maxBuffer: 2 ** 30 });

  const decoders = new Map();
  const blocks = outputLines(run(['encode', `${seed}`])).map((line) => JSON.parse(line));
  for (const { connection, block, fields } of blocks) {
    const decoder = decoders.get(connection) ?? new HeaderDecoder(limit);
    decoders.set(connection, decoder);
    const bytes = Buffer.from(block, 'hex');
    assert.deepEqual(hexOf(decoder.decode(bytes, 0, bytes.length).fields), fields, `seed ${seed}, block ${block}`);
  }
  console.log(`Ours has decoded ${blocks.length} blocks of Go's encoder on ${decoders.size} connections.`);

  const lists = randomLists(10_000);
  const ours = lists.map((fields) => {
    const bytes = Buffer.alloc(encodedBytesMax(fields));
    return bytes.toString('hex', 0, encodeFields(fields, bytes, 0));
  });
  const decoded = outputLines(run(['decode'], `${ours.join('\n')}\n`)).map((line) => JSON.parse(line));
  assert.deepEqual(decoded, lists.map(hexOf), `seed ${seed}`);
  console.log(`Go has decoded ${decoded.length} blocks of our encoder.`);

  // An empty line is the empty block.
  const damaged = Array.from({ length: 50_000 }, () => damage(blocks[random(blocks.length)].block));
  const judged = outputLines(run(['judge'], `${damaged.join('\n')}\n`)).map((line) => JSON.parse(line));
  const fields = damaged.map((block, index) => judge(Buffer.from(block, 'hex'), judged[index]));
  for (const [index, block] of damaged.entries()) {
    assert.deepEqual(fields[index], judged[index], `seed ${seed}, block ${block}`);
  }
  const invalid = judged.filter((list) => list === null).length;
  console.log(
    `Both have decoded ${judged.length} damaged blocks to the same fields, or found them invalid (${invalid}).`,
  );
});

/** Decodes a block as the first one of a connection. Returns null if it is invalid. */
function judge(bytes, other) {
  try {
    return hexOf(new HeaderDecoder(limit).decode(bytes, 0, bytes.length).fields);
  } catch (error) {
    assert.equal(error.name, 'ConnectionError');
    // Go permits this while its table is empty. RFC 7541, section 4.2, does not.
    return error.message === 'The size of the table changes after a field.' ? other : null;
  }
}

function damage(block) {
  const bytes = Buffer.from(block, 'hex').subarray(0, random(4) === 0 ? random(200) : undefined);
  for (let count = random(4); count > 0 && bytes.length > 0; count--) {
    const at = random(bytes.length);
    bytes[at] = random(2) === 0 ? random(256) : bytes[at] ^ (1 << random(8));
  }
  return bytes.toString('hex');
}

function randomLists(count) {
  const names = [':status', ':path', 'content-type', 'grpc-status', 'grpc-message', 'date', 'www-authenticate'];
  const values = ['200', '404', '/', '0', 'application/grpc+proto', ''];
  const text = (length) => String.fromCharCode(...Array.from({ length }, () => random(256)));
  return Array.from({ length: count }, () =>
    Array.from({ length: 1 + random(10) }, () => [
      random(4) > 0 ? names[random(names.length)] : text(1 + random(60)),
      random(2) > 0 ? values[random(values.length)] : text(random(20) > 0 ? random(150) : random(20_000)),
    ]).flat(),
  );
}
