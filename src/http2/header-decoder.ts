/** Decodes header blocks (HPACK, RFC 7541). */
import { ConnectionError, errorCode } from './frames.js';
import { decodeHuffman, HuffmanError } from './huffman.js';
import { staticTable } from './static-table.js';

/** Each field counts as this many bytes more, in the dynamic table and in a list (RFC 7541, section 4.1). */
const fieldBytes = 32;
// SETTINGS_HEADER_TABLE_SIZE of this side, which is its default.
const tableBytesMax = 4096;
// Shorter values are decoded in less time than a comparison takes.
const rememberedBytesMin = 64;
// Each connection holds one of them.
const rememberedBytesMax = 4096;

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
  // The dynamic table. The newest entry is the last one. Those before the first one have been evicted.
  readonly #names: string[] = [];
  readonly #values: string[] = [];
  #firstEntry = 0;
  #bytes: Buffer = Buffer.alloc(0);
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
    try {
      return this.#readList();
    } catch (error) {
      if (error instanceof HuffmanError) throw compressionError(error.message);
      throw error;
    } finally {
      this.#bytes = noBytes;
    }
  }

  #readList(): HeaderList {
    const fields: string[] = [];
    let listBytes = 0;
    while (this.#at < this.#end) {
      const first = this.#bytes[this.#at] ?? 0;
      if (first >= 0x20 && first < 0x40) {
        // A change of the table's size (section 6.3) comes before all fields.
        if (listBytes > 0) throw compressionError('The size of the table changes after a field.');
        this.#resizeTable(this.#readInteger(0x1f));
        continue;
      }
      let name: string;
      let value: string;
      if (first >= 0x80) {
        const index = this.#readInteger(0x7f);
        name = this.#nameOf(index);
        value = this.#valueOf(index);
      } else {
        const isIndexed = first >= 0x40;
        const index = this.#readInteger(isIndexed ? 0x3f : 0x0f);
        name = index === 0 ? this.#readText() : this.#nameOf(index);
        value = isIndexed ? this.#readText() : this.#readRepeatedText();
        if (isIndexed) this.#add(name, value);
      }
      listBytes += name.length + value.length + fieldBytes;
      if (listBytes <= this.listBytesMax) fields.push(name, value);
    }
    return { fields, isTooLarge: listBytes > this.listBytesMax };
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

  /**
   * Reads a string that the client does not index, such as a token. Clients repeat it in each request, so a comparison with
   * the last one is faster than decoding it again, and returns the same string.
   */
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

  #nameOf(index: number): string {
    return staticTable[index - 1]?.[0] ?? this.#names[this.#entryAt(index)] ?? '';
  }

  #valueOf(index: number): string {
    return staticTable[index - 1]?.[1] ?? this.#values[this.#entryAt(index)] ?? '';
  }

  /** Returns the position of an entry of the dynamic table, whose indexes follow those of the static table. */
  #entryAt(index: number): number {
    const entry = this.#names.length - (index - staticTable.length);
    if (entry < this.#firstEntry || entry >= this.#names.length)
      throw compressionError('An index is not in the table.');
    return entry;
  }

  #add(name: string, value: string): void {
    this.#names.push(name);
    this.#values.push(value);
    this.#tableBytes += name.length + value.length + fieldBytes;
    this.#evict();
  }

  #resizeTable(bytes: number): void {
    if (bytes > tableBytesMax) throw compressionError('The table would be larger than the server allows.');
    this.#tableBytesMax = bytes;
    this.#evict();
  }

  /** Removes the oldest entries (section 4.3). */
  #evict(): void {
    while (this.#tableBytes > this.#tableBytesMax) {
      const entry = this.#firstEntry++;
      this.#tableBytes -= (this.#names[entry]?.length ?? 0) + (this.#values[entry]?.length ?? 0) + fieldBytes;
      this.#names[entry] = '';
      this.#values[entry] = '';
    }
    // Each entry has at least 32 bytes, so that the table has at most 128 of them.
    if (this.#firstEntry < 256) return;
    this.#names.splice(0, this.#firstEntry);
    this.#values.splice(0, this.#firstEntry);
    this.#firstEntry = 0;
  }
}

const noBytes = Buffer.alloc(0);

function compressionError(message: string): ConnectionError {
  return new ConnectionError(errorCode.compressionError, message);
}
