/** An HPACK encoder that chooses at random among all encodings of a field. It shares no code with src/http2. */
import { huffmanCodes, staticFields } from '../rfc7541-tables.ts';

const staticEntries = staticFields.map(([name, value = '']) => ({ name, value }));
const fieldBytes = 32;
// SETTINGS_HEADER_TABLE_SIZE of the server.
const tableBytesMax = 4096;

export class RandomEncoder {
  #entries = [];
  #bytesMax = tableBytesMax;

  constructor(random) {
    this.random = random;
  }

  /** Encodes pairs of a name and a value. */
  encode(fields) {
    const bytes = [];
    if (this.random(6) === 0) {
      // To the smallest size, and then to the final one (RFC 7541, section 4.2).
      const smallest = this.random(tableBytesMax + 1);
      this.#resize(bytes, smallest);
      if (this.random(2) === 0) this.#resize(bytes, smallest + this.random(tableBytesMax + 1 - smallest));
    }
    for (const [name, value] of fields) this.#encodeField(bytes, name, value);
    return Buffer.from(bytes);
  }

  #encodeField(bytes, name, value) {
    const all = [...staticEntries, ...this.#entries];
    const exact = all.findLastIndex((entry) => entry.name === name && entry.value === value) + 1;
    if (exact > 0 && this.random(4) > 0) {
      writeInteger(bytes, 0x80, 7, exact);
      return;
    }
    const isIndexed = this.random(2) === 0;
    const named = this.random(4) > 0 ? all.findIndex((entry) => entry.name === name) + 1 : 0;
    if (isIndexed) writeInteger(bytes, 0x40, 6, named);
    else writeInteger(bytes, 0x10 * this.random(2), 4, named);
    if (named === 0) this.#writeText(bytes, name);
    this.#writeText(bytes, value);
    if (isIndexed) {
      this.#entries.unshift({ name, value });
      this.#evict();
    }
  }

  #writeText(bytes, text) {
    const plain = Buffer.from(text, 'latin1');
    const isHuffman = this.random(2) === 0;
    const encoded = isHuffman ? encodeHuffman(plain) : plain;
    writeInteger(bytes, isHuffman ? 0x80 : 0, 7, encoded.length);
    for (const byte of encoded) bytes.push(byte);
  }

  #resize(bytes, bytesMax) {
    writeInteger(bytes, 0x20, 5, bytesMax);
    this.#bytesMax = bytesMax;
    this.#evict();
  }

  #evict() {
    let size = 0;
    const end = this.#entries.findIndex(({ name, value }) => {
      size += name.length + value.length + fieldBytes;
      return size > this.#bytesMax;
    });
    if (end >= 0) this.#entries.length = end;
  }
}

function writeInteger(bytes, high, bits, value) {
  const mask = 2 ** bits - 1;
  if (value < mask) {
    bytes.push(high | value);
    return;
  }
  bytes.push(high | mask);
  let rest = value - mask;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push(128 + (rest % 128));
  bytes.push(rest);
}

function encodeHuffman(plain) {
  let bits = '';
  for (const byte of plain) bits += huffmanCodes[byte].code.toString(2).padStart(huffmanCodes[byte].bits, '0');
  bits = bits.padEnd(Math.ceil(bits.length / 8) * 8, '1');
  return Buffer.from(bits.match(/.{8}/g)?.map((byte) => Number.parseInt(byte, 2)) ?? []);
}
