/**
 * Finds constructions in comments, texts and documentation that CONTRIBUTING.md bans, so that they cannot come back.
 *
 * It knows a few dozen patterns and cannot judge a sentence: a text that passes may still need a rewrite.
 */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');

interface Ban {
  readonly pattern: RegExp;
  readonly instead: string;
}

const bans: readonly Ban[] = [
  { pattern: /\b(?:is|are|was|were) none\b/i, instead: 'is not a …, is invalid, is missing' },
  { pattern: /\bwhere there (?:is|are) (?:none|no)\b/i, instead: 'if there is no …' },
  { pattern: /\bthere (?:is|are) none\b/i, instead: 'there is no …, … does not exist' },
  { pattern: /\bmend(?:s|ed|ing)?\b/i, instead: 'fix, repair' },
  { pattern: /\brevive[sd]?\b|\breviving\b/i, instead: 'restart' },
  { pattern: /\bwho(?:m|so)?ever\b/i, instead: 'the client, the caller, the operator' },
  { pattern: /\banew\b/i, instead: 'again, re-read, rebuilt' },
  { pattern: /\bfor ever\b/i, instead: 'forever, indefinitely' },
  { pattern: /\ball the same\b/i, instead: 'anyway' },
  { pattern: /\bnobody else['’]s\b/i, instead: 'not another …' },
  { pattern: /\bpatience\b/i, instead: 'the timeout that it is' },
  { pattern: /\bclosers\b/i, instead: 'cleanups' },
  { pattern: /\b(?:last words|goodbye|on their way)\b/i, instead: 'flush, disconnect or drain timeout' },
  { pattern: /\bdatabase is (?:away|there)\b/i, instead: 'cannot reach the database, connected to the database' },
  {
    pattern: /(?:^|[.:;] )(?:Who|Whom|Whose|What) [^?.]*[.](?:\s|$)/,
    instead: 'a sentence with a subject: "A watcher that …"',
  },
  { pattern: /, (?:who|whom) has\b/, instead: 'two sentences' },
  { pattern: /\b(?:is|are) let go\b/i, instead: 'is closed, is dropped' },
  { pattern: /\bin front of (?:it|them|each)\b/i, instead: 'before (order), in front of (only for proxies)' },
  { pattern: /\b(?:goes|went) on behind\b/i, instead: 'continues after' },
  { pattern: /\bbesides?,? nothing\b/i, instead: 'nothing else' },
  { pattern: /\bhears? (?:of|at once|when|what|whether)\b/i, instead: 'receives, is called with' },
  { pattern: /\btells? (?:nobody|whoever)\b/i, instead: 'sends, reports to' },
  { pattern: /\bas long as (?:one|it) likes\b/i, instead: 'indefinitely' },
  { pattern: /\bnow and then\b/i, instead: 'from time to time; better: how often' },
  { pattern: /\bwhatever becomes of\b/i, instead: 'regardless of how … ends' },
  { pattern: /\bfor want of\b/i, instead: 'because … is missing' },
  { pattern: /\bit is (?:dear|dearer)\b|\bthe dear\b/i, instead: 'expensive' },
];

/** Passages that contain banned words on purpose. `find` is a part of the passage. */
const exceptions: readonly { readonly file: string; readonly find: string; readonly why: string }[] = [
  { file: 'CONTRIBUTING.md', find: '', why: 'The guide quotes the words that it bans.' },
];

interface Passage {
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

const codeFiles = globSync(
  ['src/**/*.ts', 'web/**/*.{ts,tsx}', 'migrations/*.ts', 'scripts/**/*.mjs', 'bench/**/*.ts', 'test/**/*.{ts,mjs}'],
  {
    cwd: root,
  },
);
const protoFiles = globSync('proto/**/*.proto', { cwd: root });
const docFiles = globSync(['*.md', 'docs/**/*.md', 'examples/**/README.md'], {
  cwd: root,
  exclude: ['**/node_modules'],
});

// Strings before comments, so that a URL in a string is not a comment. Regular expressions may confuse it; none does now.
const tokens =
  /(?<comment>\/\/[^\n]*|\/\*[\s\S]*?\*\/)|(?<text>`(?:[^`\\]|\\[\s\S])*`|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")/g;

/** The comments and the string literals of a source file, with the lines of one paragraph joined. */
function passagesOfCode(file: string): Passage[] {
  const source = readFileSync(path.join(root, file), 'utf8');
  const passages: Passage[] = [];
  let previousEnd = -1;
  for (const match of source.matchAll(tokens)) {
    const line = source.slice(0, match.index).split('\n').length;
    const { comment } = match.groups ?? {};
    if (comment === undefined) {
      passages.push({ file, line, text: match[0].slice(1, -1) });
      continue;
    }
    const text = comment.replaceAll(/^\s*(?:\/\/|\/\*\*?|\*\/|\*)\s?|\s*\*\/$/gm, '').replaceAll(/\s*\n\s*/g, ' ');
    const last = passages.at(-1);
    // Line comments that follow one another are one paragraph.
    const continues =
      last !== undefined &&
      comment.startsWith('//') &&
      source.slice(previousEnd, match.index).trim() === '' &&
      previousEnd >= 0;
    if (continues) passages[passages.length - 1] = { ...last, text: `${last.text} ${text}` };
    else passages.push({ file, line, text: text.trim() });
    previousEnd = match.index + comment.length;
  }
  return passages;
}

/** The paragraphs of a Markdown file without its code blocks. */
function passagesOfMarkdown(file: string): Passage[] {
  const source = readFileSync(path.join(root, file), 'utf8').replaceAll(/^ *```[\s\S]*?^ *```$/gm, (block) =>
    block.replaceAll(/[^\n]/g, ''),
  );
  const passages: Passage[] = [];
  let line = 1;
  for (const paragraph of source.split(/\n(?=\n|[-|#\d])/)) {
    const text = paragraph.replaceAll(/\s+/g, ' ').trim();
    if (text !== '') passages.push({ file, line: line + (/^\n*/.exec(paragraph)?.[0].length ?? 0), text });
    line += paragraph.split('\n').length;
  }
  return passages;
}

function passagesOfProto(file: string): Passage[] {
  const source = readFileSync(path.join(root, file), 'utf8');
  return [...source.matchAll(/(?:^ *\/\/.*\n)+/gm)].map((match) => ({
    file,
    line: source.slice(0, match.index).split('\n').length,
    text: match[0]
      .replaceAll(/^ *\/\/ ?/gm, '')
      .replaceAll(/\s+/g, ' ')
      .trim(),
  }));
}

function findingsIn(passages: readonly Passage[]): string[] {
  return passages.flatMap(({ file, line, text }) =>
    bans
      .filter(({ pattern }) => pattern.test(text))
      .filter(() => !exceptions.some((exception) => exception.file === file && text.includes(exception.find)))
      .map(({ pattern, instead }) => {
        const found = pattern.exec(text)?.[0] ?? '';
        return `${file}:${line}: “${found.slice(0, 80)}”: write ${instead}`;
      }),
  );
}

describe('plain English', () => {
  it.each([
    ['the contract', protoFiles, passagesOfProto],
    ['the documentation', docFiles, passagesOfMarkdown],
    ['the code', codeFiles.filter((file) => file !== 'test/plain-english.test.ts'), passagesOfCode],
  ] as const)('is what %s is written in', (_, files, passagesOf) => {
    expect(files.length).toBeGreaterThan(0);
    expect(files.flatMap((file) => findingsIn(passagesOf(file)))).toEqual([]);
  });
});
