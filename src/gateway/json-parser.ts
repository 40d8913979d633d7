/**
 * Parses the JSON of a request, with pauses in which other calls are handled. It limits depth and elements, and refuses
 * what protobuf would silently change. A single JSON.parse would block the event loop for up to 100 ms.
 */
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { createPause } from '../concurrency/event-loop.js';
import { inexactNumberText, isExactNumber } from '../json.js';
import { invalidRequest } from '../model/fault.js';

/** How deep objects and lists of a JSON message may be nested. */
const levelsMax = 100;
/**
 * How many elements a JSON message may have: objects, lists, and the commas in them. If all are keys of one object,
 * converting them to protobuf blocks the event loop for up to 50 ms.
 */
const elementsMax = 25_000;

/** The bytes must be valid UTF-8. Throws a Fault, which never repeats what was sent. */
export function parseJsonInPieces(bytes: Buffer): Promise<JsonValue> {
  return new JsonParser(bytes).parse();
}

/** A list or an object whose end has not been reached. */
type Container =
  | { readonly close: typeof closeBracket; readonly value: JsonValue[] }
  | { readonly close: typeof closeBrace; readonly value: JsonObject; key: string };

const byteOrderMark = Buffer.from('\ufeff');

const tab = 0x09;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const space = 0x20;
const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

class JsonParser {
  readonly #bytes: Buffer;
  /** The containers around the current position, from the outside in. */
  readonly #containers: Container[] = [];
  #at = 0;
  #elements = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  async parse(): Promise<JsonValue> {
    const pause = createPause();
    if (this.#bytes.subarray(0, byteOrderMark.length).equals(byteOrderMark)) this.#at = byteOrderMark.length;
    while (true) {
      const pausing = pause();
      if (pausing !== undefined) await pausing;
      const value = this.#readValue();
      if (value === undefined) continue;
      const outermost = this.#addValue(value);
      if (outermost !== undefined) return outermost;
    }
  }

  /** Reads a value. Returns undefined after the start of a list or an object that is not empty. */
  #readValue(): JsonValue | undefined {
    switch (this.#next()) {
      case openBracket:
        return this.#open({ close: closeBracket, value: [] });
      case openBrace:
        // Without a prototype, a key named __proto__ is an ordinary key.
        return this.#open({ close: closeBrace, value: Object.create(null), key: '' });
      case quote:
        return this.#readString();
      default:
        return this.#readWord();
    }
  }

  #open(container: Container): JsonValue | undefined {
    this.#at++;
    this.#countElement();
    if (this.#containers.push(container) > levelsMax) {
      throw invalidRequest(`The request must nest objects and lists at most ${levelsMax} levels deep.`);
    }
    if (this.#skip(container.close)) {
      this.#containers.pop();
      return container.value;
    }
    this.#readKey(container);
    return undefined;
  }

  /** Adds a complete value to its container, and continues after it. Returns the outermost value if that is complete. */
  #addValue(complete: JsonValue): JsonValue | undefined {
    let value = complete;
    while (true) {
      const container = this.#containers.at(-1);
      if (container === undefined) {
        if (this.#next() !== undefined) throw invalidJson();
        return value;
      }
      if (container.close === closeBracket) container.value.push(value);
      else container.value[container.key] = value;
      if (this.#skip(comma)) {
        this.#countElement();
        this.#readKey(container);
        return undefined;
      }
      if (!this.#skip(container.close)) throw invalidJson();
      this.#containers.pop();
      value = container.value;
    }
  }

  /** Reads the key and the colon before a value of an object. */
  #readKey(container: Container): void {
    if (container.close === closeBracket) return;
    if (this.#next() !== quote) throw invalidJson();
    container.key = this.#readString();
    if (!this.#skip(colon)) throw invalidJson();
  }

  #readString(): string {
    const bytes = this.#bytes;
    const start = this.#at + 1;
    let end = start;
    let isPlain = true;
    for (let byte = bytes[end]; byte !== quote && byte !== undefined; byte = bytes[end]) {
      isPlain &&= byte !== backslash && byte >= space;
      end += byte === backslash ? 2 : 1;
    }
    if (end >= bytes.length) throw invalidJson();
    this.#at = end + 1;
    if (isPlain) return bytes.toString('utf8', start, end);
    const text = String(parseLiteral(bytes.toString('utf8', start - 1, end + 1)));
    // The bytes are UTF-8, so only an escape can be a surrogate without its other half. Protobuf would replace it by U+FFFD.
    if (!text.isWellFormed()) throw invalidRequest('The request has an unpaired surrogate in a \\u escape.');
    return text;
  }

  /** Reads a number, true, false or null. */
  #readWord(): JsonValue {
    const start = this.#at;
    while (!endsWord(this.#bytes[this.#at])) this.#at++;
    const word = this.#bytes.toString('latin1', start, this.#at);
    const value = parseLiteral(word);
    if (typeof value === 'number' && !isExactNumber(word)) throw invalidRequest(inexactNumberText);
    return value;
  }

  /** Returns the next byte after whitespace, or undefined at the end. */
  #next(): number | undefined {
    while (isWhitespace(this.#bytes[this.#at])) this.#at++;
    return this.#bytes[this.#at];
  }

  /** Skips this byte if it is the next one. */
  #skip(byte: number): boolean {
    const isNext = this.#next() === byte;
    if (isNext) this.#at++;
    return isNext;
  }

  #countElement(): void {
    if (++this.#elements > elementsMax) {
      throw invalidRequest(
        `The request must have at most ${elementsMax} JSON elements. Send less in one request, or use a binary protocol.`,
      );
    }
  }
}

function isWhitespace(byte: number | undefined): boolean {
  return byte === space || byte === lineFeed || byte === carriageReturn || byte === tab;
}

function endsWord(byte: number | undefined): boolean {
  return byte === comma || byte === closeBracket || byte === closeBrace || byte === undefined || isWhitespace(byte);
}

/** Parses a string or a word. JSON.parse misreads some escaped keys in objects (see parseJson), but no single strings. */
function parseLiteral(text: string): JsonValue {
  try {
    return JSON.parse(text);
  } catch {
    throw invalidJson();
  }
}

function invalidJson() {
  return invalidRequest('The request is not valid JSON.');
}
