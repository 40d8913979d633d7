/** Decodes header blocks (HPACK, RFC 7541). */
import { compressionError } from './frames.js';
import { decodeHuffman } from './huffman.js';
import { type Field, staticTable } from './static-table.js';

// SETTINGS_HEADER_TABLE_SIZE of this side, which is its default.
const tableBytesMax = 4096;
// Shorter values are decoded in less time than a comparison takes.
const rememberedBytesMin = 64;
// Each connection holds one of them.
const rememberedBytesMax = 4096;
const noBytes = Buffer.alloc(0);

/** Names and values in turn. */
export type HeaderFields = readonly string[];

export interface HeaderList {
  readonly fields: string[];
  /** Whether fields were left out because the list has too many bytes. */
  readonly isTooLarge: boolean;
}

export class HeaderDecoder {
  #tableBytesMax = tableBytesMax;
  #tableBytes = 0;
  /** The dynamic table. The newest entry is the first one. */
  readonly #entries: Field[] = [];
  #bytes: Buffer = noBytes;
  #at = 0;
  #end = 0;
  /** The last long value that was not indexed, as it was encoded and decoded. */
  #rememberedBytes: Buffer | undefined;
  #rememberedValue = '';

  /** `listBytesMax` limits a decoded list. The fields beyond it are decoded and dropped, because they change the table. */
  constructor(private readonly listBytesMax: number) {}

  /** Throws a ConnectionError. The table is not usable after that. */
  decode(bytes: Buffer, from: number, to: number): HeaderList {
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
    const field: Field = [name, isIndexed ? this.#readText() : this.#readRepeatedText()];
    if (isIndexed) {
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
    const isHuffman = (this.#bytes[this.#at] ?? 0) >= 0x80;
    const from = this.#readLength();
    return isHuffman ? decodeHuffman(this.#bytes, from, this.#at) : this.#bytes.toString('latin1', from, this.#at);
  }

  /** Reads a string that the client does not index, such as a token. It is usually the last one, and need not be decoded. */
  #readRepeatedText(): string {
    const start = this.#at;
    const from = this.#readLength();
    const end = this.#at;
    const known = this.#rememberedBytes;
    if (known?.length === end - start && known.compare(this.#bytes, start, end) === 0) return this.#rememberedValue;
    this.#at = start;
    const value = this.#readText();
    if (end - from >= rememberedBytesMin && end - from <= rememberedBytesMax) {
      this.#rememberedBytes = Buffer.from(this.#bytes.subarray(start, end));
      this.#rememberedValue = value;
    }
    return value;
  }

  /** Reads the length of a string and skips the string. Returns where it begins. */
  #readLength(): number {
    if (this.#at >= this.#end) throw compressionError('A string is missing.');
    const length = this.#readInteger(0x7f);
    const from = this.#at;
    this.#at += length;
    if (this.#at > this.#end) throw compressionError('A string is cut off.');
    return from;
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
