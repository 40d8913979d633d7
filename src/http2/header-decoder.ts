/** Decodes header blocks (HPACK, RFC 7541). */
import { compressionError } from './frames.js';
import { decodeHuffman } from './huffman.js';
import type { RequestCheck } from './request-fields.js';
import { type Field, staticTable } from './static-table.js';

// SETTINGS_HEADER_TABLE_SIZE of this side, which is its default.
const tableBytesMax = 4096;
// A client that calls several methods repeats several blocks. Each connection keeps at most this many, of this size.
const knownBlocksMax = 4;
const knownBytesMax = 2048;
const noBytes = Buffer.alloc(0);

/** Names and values in turn. */
export type HeaderFields = readonly string[];

export interface HeaderList {
  readonly fields: string[];
  /** Whether fields were left out because the list has too many bytes. */
  readonly isTooLarge: boolean;
  /** Set when the list has been checked as that of a request. */
  check?: RequestCheck;
}

export class HeaderDecoder {
  #tableBytesMax = tableBytesMax;
  #tableBytes = 0;
  /** The dynamic table. The newest entry is the first one. */
  readonly #entries: Field[] = [];
  #bytes: Buffer = noBytes;
  #at = 0;
  #end = 0;
  #isTableChanged = false;
  /** The last blocks that left the table as it is now, by their length. Most clients repeat few blocks. */
  #known: ({ buffer: Buffer; bytes: number; list: HeaderList } | undefined)[] = [];

  /** `listBytesMax` limits a decoded list. The fields beyond it are decoded and dropped, because they change the table. */
  constructor(private readonly listBytesMax: number) {}

  /** Throws a ConnectionError. The table is not usable after that. Equal blocks may have the same list. */
  decode(bytes: Buffer, from: number, to: number): HeaderList {
    const known = this.#known[(to - from) % knownBlocksMax];
    const isKnown = known?.bytes === to - from && known.buffer.compare(bytes, from, to, 0, known.bytes) === 0;
    if (isKnown) return known.list;
    const list = this.#decode(bytes, from, to);
    if (this.#isTableChanged) this.#known = [];
    else if (to - from <= knownBytesMax && !list.isTooLarge) {
      const hasRoom = known !== undefined && known.buffer.length >= to - from;
      const buffer = hasRoom ? known.buffer : Buffer.allocUnsafeSlow(to - from);
      bytes.copy(buffer, 0, from, to);
      this.#known[(to - from) % knownBlocksMax] = { buffer, bytes: to - from, list };
    }
    return list;
  }

  #decode(bytes: Buffer, from: number, to: number): HeaderList {
    this.#isTableChanged = false;
    this.#bytes = bytes;
    this.#at = from;
    this.#end = to;
    const fields: string[] = [];
    let listBytes = 0;
    while (this.#at < this.#end) {
      const first = this.#bytes[this.#at] ?? 0;
      if (first >= 0x20 && first < 0x40) {
        // A change of the table's size (section 6.3) comes before all fields.
        if (listBytes > 0) throw compressionError('The size of the table changes after a field.');
        this.#tableBytesMax = this.#readInteger(0x1f);
        if (this.#tableBytesMax > tableBytesMax) throw compressionError('The size of the table is not allowed.');
        this.#isTableChanged = true;
        this.#evict();
        continue;
      }
      const field = first >= 0x80 ? this.#fieldAt(this.#readInteger(0x7f)) : this.#readLiteral(first >= 0x40);
      listBytes += bytesOf(field);
      if (listBytes <= this.listBytesMax) fields.push(field[0], field[1]);
    }
    // Otherwise each connection would keep a chunk of its socket.
    this.#bytes = noBytes;
    return { fields, isTooLarge: listBytes > this.listBytesMax };
  }

  /** Reads a field that is not in a table (section 6.2). Its name may be. */
  #readLiteral(isIndexed: boolean): Field {
    const index = this.#readInteger(isIndexed ? 0x3f : 0x0f);
    const name = index === 0 ? this.#readText() : this.#fieldAt(index)[0];
    const field: Field = [name, this.#readText()];
    if (isIndexed) {
      this.#isTableChanged = true;
      this.#entries.unshift(field);
      this.#tableBytes += bytesOf(field);
      this.#evict();
    }
    return field;
  }

  /** Reads an integer whose first bits are those of `mask` in the next byte (section 5.1). */
  #readInteger(mask: number): number {
    let value = (this.#bytes[this.#at++] ?? 0) & mask;
    if (value < mask) return value;
    // Four more bytes are enough for all lengths of a header block.
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.#at >= this.#end) break;
      const byte = this.#bytes[this.#at++] ?? 0;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw compressionError('An integer is cut off or too large.');
  }

  /** Reads a string (section 5.2). */
  #readText(): string {
    if (this.#at >= this.#end) throw compressionError('A string is missing.');
    const isHuffman = (this.#bytes[this.#at] ?? 0) >= 0x80;
    const length = this.#readInteger(0x7f);
    const from = this.#at;
    this.#at += length;
    if (this.#at > this.#end) throw compressionError('A string is cut off.');
    return isHuffman ? decodeHuffman(this.#bytes, from, this.#at) : this.#bytes.toString('latin1', from, this.#at);
  }

  /** The indexes of the dynamic table follow those of the static table (section 2.3.3). */
  #fieldAt(index: number): Field {
    const field = staticTable[index - 1] ?? this.#entries[index - 1 - staticTable.length];
    if (field === undefined) throw compressionError('An index is not in the table.');
    return field;
  }

  /** Removes the oldest entries (section 4.3). */
  #evict(): void {
    while (this.#tableBytes > this.#tableBytesMax) this.#tableBytes -= bytesOf(this.#entries.pop());
  }
}

/** The bytes of a field in the table and in a list (section 4.1). */
function bytesOf([name, value]: Field = ['', '']): number {
  return name.length + value.length + 32;
}
