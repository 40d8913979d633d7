/**
 * Decodes a file of users piece by piece: finds the encoding, and names the line of bytes that cannot be decoded.
 *
 * The web page imports this file, so it must not import Node modules.
 */

/** The file cannot be read from `line` on, or not at all if `line` is undefined. Lines count from 1. */
export class UnreadableFile extends Error {
  override readonly name: string = 'UnreadableFile';
  readonly line: number | undefined;

  constructor(problem: string, line?: number) {
    super(
      line === undefined
        ? `The file cannot be read: ${problem}.`
        : `The file cannot be read from line ${line} on: ${problem}.`,
    );
    this.line = line;
  }
}

/** The bytes are invalid in the encoding that was tried. Another encoding may work. */
export class WrongEncoding extends UnreadableFile {
  override readonly name = 'WrongEncoding';
  /** An encoding to try next. */
  readonly suggestion: string;

  constructor(problem: string, line: number, suggestion: string) {
    super(problem, line);
    this.suggestion = suggestion;
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
  /** Known after the first piece of text. */
  encoding(): string;
  /** Whether the file is UTF-8 without a byte order mark. */
  isPlainUtf8(): boolean;
}

/** The encoding is that of a byte order mark, else `asked`, else UTF-8. */
export function decodeText(chunks: AsyncIterable<Uint8Array>, asked = 'utf-8'): DecodedText {
  let encoding = asked;
  let hasMark = false;

  async function* decode(): AsyncGenerator<string> {
    let decoder: ReturnType<typeof createDecoder> | undefined;
    for await (const chunk of withWholeMark(chunks)) {
      if (decoder === undefined) {
        const mark = byteOrderMarks.find(({ bytes }) => bytes.every((byte, index) => chunk[index] === byte));
        hasMark = mark !== undefined;
        encoding = mark?.encoding ?? asked;
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

function createDecoder(encoding: string, isCertain: boolean) {
  const decoder = new TextDecoder(encoding, { fatal: true });
  // A decoder does not say which byte is invalid. This one runs a chunk later, and decodes a bad chunk byte by byte.
  const follower = new TextDecoder(encoding, { fatal: true });
  let previous: Uint8Array = new Uint8Array();
  const lines = createLineCounter();

  function follow(chunk: Uint8Array): void {
    lines.add(follower.decode(previous, { stream: true }));
    previous = chunk;
  }

  return {
    /** Yields the text of a chunk, or the rest at the end of the file. Text before a bad byte precedes the error. */
    *decode(chunk: Uint8Array | undefined): Generator<string> {
      let text: string;
      try {
        text = chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true });
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        follow(chunk ?? new Uint8Array());
        yield decodeUntilBad(follower, previous, lines.add);
        const problem = `it is not ${describeEncoding(encoding)}`;
        if (isCertain) throw new UnreadableFile(problem, lines.line());
        throw new WrongEncoding(problem, lines.line(), encoding === 'utf-8' ? 'windows-1252' : 'utf-8');
      }
      follow(chunk ?? new Uint8Array());
      yield text;
    },
  };
}

function decodeUntilBad(
  decoder: InstanceType<typeof TextDecoder>,
  chunk: Uint8Array,
  onText: (text: string) => void,
): string {
  let good = '';
  try {
    for (const byte of chunk) {
      const text = decoder.decode(Uint8Array.of(byte), { stream: true });
      onText(text);
      good += text;
    }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
  return good;
}

/** Counts lines that end with \n, \r\n or \r. */
function createLineCounter() {
  let breaks = 0;
  let endsWithCr = false;
  return {
    add(text: string): void {
      if (text === '') return;
      breaks += text.match(/\r\n|\n|\r/g)?.length ?? 0;
      // The second half of a break that was counted with the previous text.
      if (endsWithCr && text.startsWith('\n')) breaks--;
      endsWithCr = text.endsWith('\r');
    },
    line: () => breaks + 1,
  };
}
