/**
 * Decodes a file of users in chunks: finds the encoding, and reports the line of bytes that cannot be decoded.
 *
 * The web page imports this file, so it must not import Node modules.
 */

/** The file cannot be read from `line` on, or not at all if `line` is undefined. Lines count from 1. */
export class UnreadableFile extends Error {
  override readonly name: string = 'UnreadableFile';

  constructor(
    problem: string,
    readonly line?: number,
  ) {
    super(`The file cannot be read${line === undefined ? '' : ` from line ${line} on`}: ${problem}.`);
  }
}

/** The bytes are invalid in the encoding that was tried. Another encoding may work. */
export class WrongEncoding extends UnreadableFile {
  override readonly name = 'WrongEncoding';

  /** `suggestion` is the encoding to try next. */
  constructor(
    problem: string,
    line: number,
    readonly suggestion: string,
  ) {
    super(problem, line);
  }
}

const byteOrderMarks = [
  { encoding: 'utf-8', bytes: [0xef, 0xbb, 0xbf] },
  { encoding: 'utf-16le', bytes: [0xff, 0xfe] },
  { encoding: 'utf-16be', bytes: [0xfe, 0xff] },
] as const;
const longestMark = 3;

/** The standard name of an encoding, or undefined if TextDecoder does not know it. */
export function parseEncoding(name: string): string | undefined {
  try {
    return new TextDecoder(name).encoding;
  } catch {
    return undefined;
  }
}

/** The name of an encoding in messages. */
export function describeEncoding(encoding: string): string {
  return encoding.startsWith('utf-') ? encoding.toUpperCase() : encoding;
}

export interface DecodedText {
  readonly text: AsyncIterable<string>;
  /** Call this after the first chunk of text. */
  encoding(): string;
  /** Whether the file is UTF-8 without a byte order mark. */
  isPlainUtf8(): boolean;
}

/** The encoding is that of a byte order mark, otherwise `requested`. */
export function decodeText(chunks: AsyncIterable<Uint8Array>, requested = 'utf-8'): DecodedText {
  let encoding = requested;
  let hasMark = false;

  async function* decode(): AsyncGenerator<string> {
    let decoder: ReturnType<typeof createDecoder> | undefined;
    for await (const chunk of withWholeMark(chunks)) {
      if (decoder === undefined) {
        const mark = byteOrderMarks.find(({ bytes }) => bytes.every((byte, index) => chunk[index] === byte));
        hasMark = mark !== undefined;
        encoding = mark?.encoding ?? requested;
        decoder = createDecoder(encoding, hasMark);
      }
      yield* decoder.decode(chunk);
    }
    if (decoder !== undefined) yield* decoder.decode(undefined);
  }

  return { text: decode(), encoding: () => encoding, isPlainUtf8: () => encoding === 'utf-8' && !hasMark };
}

/** Yields the same bytes. The first chunk is at least as long as the longest byte order mark. */
async function* withWholeMark(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let start: Uint8Array | undefined = new Uint8Array();
  for await (const chunk of chunks) {
    if (start === undefined) {
      yield chunk;
      continue;
    }
    start = concat(start, chunk);
    if (start.length < longestMark) continue;
    yield start;
    start = undefined;
  }
  if (start !== undefined) yield start;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

function createDecoder(encoding: string, hasMark: boolean) {
  const decoder = new TextDecoder(encoding, { fatal: true });
  // TextDecoder does not report which byte is invalid. This one runs one chunk late, so that it can decode an invalid
  // chunk byte by byte.
  const lateDecoder = new TextDecoder(encoding, { fatal: true });
  let previous: Uint8Array = new Uint8Array();
  const lines = createLineCounter();

  function follow(chunk: Uint8Array): void {
    lines.add(lateDecoder.decode(previous, { stream: true }));
    previous = chunk;
  }

  return {
    /**
     * Yields the text of a chunk. Undefined ends the file. Before it throws, it yields the text before the invalid
     * byte.
     */
    *decode(chunk: Uint8Array | undefined): Generator<string> {
      let text: string;
      try {
        text = chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true });
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        follow(chunk ?? new Uint8Array());
        yield decodeUntilInvalid(lateDecoder, previous, lines.add);
        const problem = `it is not ${describeEncoding(encoding)}`;
        if (hasMark) throw new UnreadableFile(problem, lines.line());
        throw new WrongEncoding(problem, lines.line(), encoding === 'utf-8' ? 'windows-1252' : 'utf-8');
      }
      follow(chunk ?? new Uint8Array());
      yield text;
    },
  };
}

function decodeUntilInvalid(
  decoder: InstanceType<typeof TextDecoder>,
  chunk: Uint8Array,
  onText: (text: string) => void,
): string {
  let decoded = '';
  try {
    for (const byte of chunk) {
      const text = decoder.decode(Uint8Array.of(byte), { stream: true });
      onText(text);
      decoded += text;
    }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
  return decoded;
}

/** Counts lines that end with \n, \r\n or \r. */
function createLineCounter() {
  let breaks = 0;
  let endsWithCr = false;
  return {
    add(text: string): void {
      if (text === '') return;
      breaks += text.match(/\r\n|\n|\r/g)?.length ?? 0;
      // This \n belongs to a \r\n that was counted with the previous text.
      if (endsWithCr && text.startsWith('\n')) breaks--;
      endsWithCr = text.endsWith('\r');
    },
    line: () => breaks + 1,
  };
}
