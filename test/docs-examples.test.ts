/**
 * Runs the commands of the pages on streams, from top to bottom, and compares their output with the pages.
 *
 * A page is a shell session against a directory of three users. A ```ts block is the file that the next `$ node …`
 * runs. `$ cat …` of a missing file creates it. A ```sql block runs in the database. ^C is sent after all output before
 * it has arrived. Ids, times and tokens differ each time; … matches any text.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from './support/app.js';
import { createOutsideProject, type OutsideProject } from './support/outside.js';

const pages = ['import', 'export', 'watch', 'resolve'];

const users = [
  { firstName: 'Ada', lastName: 'Lovelace', email: 'ada@example.com', attributes: { department: 'ops' } },
  { firstName: 'Grace', lastName: 'Hopper', email: 'grace@example.com', attributes: { department: 'navy' } },
  { firstName: 'Alan', lastName: 'Turing', email: 'alan@example.com', attributes: { department: 'ops' } },
];

const timeout = { timeout: 30_000, interval: 20 };

type Step =
  | { kind: 'ts'; text: string }
  | { kind: 'sql'; text: string }
  | { kind: 'command'; line: string; output: string };

function stepsOf(page: string): Step[] {
  const blocks = readFileSync(path.join(import.meta.dirname, `../docs/${page}.md`), 'utf8').matchAll(
    /^```(ts|sql|console)\n(.*?)^```$/gms,
  );
  return [...blocks].flatMap(([, kind, text = '']): Step[] => {
    if (kind !== 'console') return [{ kind: kind === 'ts' ? 'ts' : 'sql', text }];
    return text
      .split(/^\$ /m)
      .slice(1)
      .map((part) => {
        const [, line = '', output = ''] = /^((?:[^\n]*\\\n)*[^\n]*)\n?(.*)$/s.exec(part) ?? [];
        return { kind: 'command', line, output };
      });
  });
}

/** Patterns for texts that differ each time. */
const changing: readonly [RegExp, string][] = [
  [/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/, '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'],
  [/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/, '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z'],
  [/[\w-]{40,}/, '[\\w-]{40,}'],
  [/…/, '[^]*?'],
];

const anyChanging = new RegExp(`(${changing.map(([form]) => form.source).join('|')})`);

function patternOf(shown: string): string {
  const parts = shown.split(anyChanging).map((part, index) => {
    const form = index % 2 === 1 && changing.find(([form]) => form.test(part));
    return form ? form[1] : part.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  });
  return parts.join('');
}

/** A command prints these only if it takes longer than a second. */
const progressLines =
  /^(?:Checking|Exporting|Finishing|Importing|Writing): (?:\d+% \| )?[\d,]+ rows \| [\d,]+\/s \| .*\n/gm;

const isShown = (output: string, shown: string) => new RegExp(`^${patternOf(shown)}$`).test(output);

let app: TestApp;
let project: OutsideProject;

beforeEach(async () => {
  app = await startTestApp();
  project = await createOutsideProject();
});

afterEach(async () => {
  project?.[Symbol.dispose]();
  await app?.[Symbol.asyncDispose]();
});

async function run(line: string, shown: string, before: number | null): Promise<number | null> {
  const [, file] = /^cat (\S+)$/.exec(line) ?? [];
  if (file !== undefined && !existsSync(path.join(project.folder, file))) {
    project.write(file, shown);
    return 0;
  }
  const command = line.replaceAll('$?', String(before)).replaceAll('localhost:50051', app.address);
  const { output: fullOutput, ended, kill } = project.start(command, { ROSTER_ADDRESS: app.address });
  const showsProgress = shown.search(progressLines) >= 0;
  const output = () => (showsProgress ? fullOutput() : fullOutput().replaceAll(progressLines, ''));
  let code: number | null | undefined;
  void ended.then((ended) => {
    code = ended;
  });
  const [first = '', rest] = shown.split('^C\n');
  try {
    if (rest !== undefined) {
      await expect.poll(() => isShown(output(), first) || output(), timeout).toBe(true);
      kill('SIGINT');
    }
    await expect.poll(() => (code === undefined ? output() : code), timeout).not.toBeTypeOf('string');
    const expected = first + (rest ?? '');
    if (!isShown(output(), expected)) expect(output(), line).toBe(expected);
    return code ?? null;
  } finally {
    kill('SIGKILL');
  }
}

describe.each(pages)('docs/%s.md', (page) => {
  const steps = stepsOf(page);

  it('shows the real output', async () => {
    await app.client.importAllUsers(page === 'import' ? [] : users);
    let source = '';
    let code: number | null = 0;
    for (const step of steps) {
      if (step.kind === 'sql') await app.database.query(step.text);
      else if (step.kind === 'ts') source = step.text;
      else {
        const [, file] = /\bnode (\S+\.ts)\b/.exec(step.line) ?? [];
        if (file !== undefined) project.write(file, source.replaceAll('localhost:50051', app.address));
        code = await run(step.line, step.output, code);
      }
    }
    expect(project.typeErrors()).toBe('');
  });
});
