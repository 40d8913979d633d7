/**
 * HPACK round trips between the built src/http2 and Go's implementation (go-hpack/), on random fields: blocks of Go's
 * encoder, which uses the dynamic table, changes its size and marks fields as sensitive, and blocks of our encoder.
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
  const decoded = outputLines(run(['decode'], ours.join('\n'))).map((line) => JSON.parse(line));
  assert.deepEqual(decoded, lists.map(hexOf), `seed ${seed}`);
  console.log(`Go has decoded ${decoded.length} blocks of our encoder.`);
});

function randomLists(count) {
  const random = randomFrom(seed);
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
