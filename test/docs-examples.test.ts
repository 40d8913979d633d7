/**
 * Follows README and the pages that it links to, in that order, as one reader with one server: creates their files, runs
 * their commands, and compares the output. See support/doc-pages.ts for the form of the pages.
 *
 * A page begins in the clone. ^C is sent after all output before it has arrived. DOCS_TOOLCHAINS=1, which .ci/run sets, also
 * runs the page that installs the toolchains of other languages.
 */
import { spawnSync } from 'node:child_process';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pagesInReadingOrder, type Section, type Step, sectionsOf } from './support/doc-pages.js';
import { createReader, Offline, type Reader } from './support/doc-reader.js';

/** Compilers of other languages may download their libraries first. */
const timeoutMs = 900_000;

/** Steps that are not run here, by the beginning of their text. */
const leftOut: readonly { readonly page: string; readonly step: string; readonly why: string }[] = [
  { page: 'README.md', step: 'docker compose', why: 'test/container/run.mjs runs the compose file.' },
  { page: 'docs/operations.md', step: 'docker', why: 'test/container/run.mjs runs the image.' },
  { page: 'docs/operations.md', step: 'create role', why: 'test/docs-roles.test.ts follows this section.' },
  { page: 'docs/operations.md', step: 'DATABASE_URL="$OWNER_URL"', why: 'The same.' },
  { page: 'docs/operations.md', step: 'grant select', why: 'The same.' },
  { page: 'docs/operations.md', step: 'DATABASE_URL="$APP_URL"', why: 'The same.' },
  { page: 'docs/operations.md', step: 'OTEL_EXPORTER_OTLP_ENDPOINT=', why: 'There is no collector here.' },
  { page: 'docs/operations.md', step: 'begin;', why: 'It repairs a database that no release has created.' },
  { page: 'docs/operations.md', step: 'select collversion', why: 'It follows an upgrade of ICU.' },
  { page: 'docs/operations.md', step: 'pg_dump', why: 'The same.' },
  { page: 'docs/operations.md', step: 'pg_restore', why: 'The same.' },
  { page: 'docs/operations.md', step: 'DATABASE_URL=postgres://roster@db1', why: 'There are no replicas here.' },
  { page: 'docs/operations.md', step: 'DATABASE_URL=postgres://roster@pooler', why: 'There is no pooler here.' },
  { page: 'docs/operations.md', step: 'alter role', why: 'There is no pooler here.' },
  { page: 'docs/operations.md', step: 'TLS_CERT=', why: 'There are no certificates here.' },
  { page: 'docs/operations.md', step: './roster list --ca', why: 'The same.' },
  { page: 'docs/operations.md', step: 'npx buf curl --protocol grpc --cacert', why: 'The same.' },
  { page: 'docs/operations.md', step: 'curl localhost:8080/metrics', why: 'The numbers differ in each run.' },
  { page: 'examples/README.md', step: 'npm run --silent examples', why: '.ci/run runs the examples.' },
  { page: 'CONTRIBUTING.md', step: 'npm test', why: 'This test is a part of it.' },
];

const pages = pagesInReadingOrder()
  .map((page) => ({ page, sections: sectionsToFollow(page) }))
  .filter(({ sections }) => sections.length > 0);

let reader: Reader;

beforeAll(() => {
  reader = createReader();
});

afterAll(async () => {
  await reader?.[Symbol.asyncDispose]();
});

describe.each(pages)('$page', ({ page, sections }) => {
  beforeAll(async () => {
    reader.beginPage();
    if (page === 'docs/operations.md') await useOwnPostgres();
    // The reader sets this variable because of the port. It overrides contexts.
    if (page === 'docs/configuration.md') reader.setVariables({ ROSTER_ADDRESS: '' });
  });

  it.for(sections)('works as written: $title', { timeout: timeoutMs }, async ({ steps }, { skip }) => {
    const isTried = page !== 'docs/clients.md' || process.env.DOCS_TOOLCHAINS === '1';
    skip(!isTried, 'it installs compilers and libraries for minutes; set DOCS_TOOLCHAINS=1');
    for (const program of programsOf(steps)) skip(!isInstalled(program), `${program} is not installed`);
    for (const step of steps) {
      try {
        skip(needsTsx(step) && !reader.hasProgram('tsx'), 'tsx is not installed, because its section was skipped');
        await follow(step);
      } catch (error) {
        skip(error instanceof Offline, 'a package registry cannot be reached');
        throw error;
      }
    }
    expect(reader.typeErrors()).toBe('');
  });
});

it('leaves out only steps that the pages have', () => {
  const unused = leftOut.filter(({ page, step }) => !allSteps(page).some((other) => textOf(other).startsWith(step)));
  expect(unused).toEqual([]);
});

async function follow(step: Step): Promise<void> {
  if (step.kind === 'file') return reader.write(step.name, step.text);
  if (step.kind === 'command') return reader.run(step.line, step.output);
  await query(reader.databaseUrl(), step.text);
}

/** On this page, DATABASE_URL leads to a Postgres of the reader's own, with an empty database. */
async function useOwnPostgres(): Promise<void> {
  const url = new URL(reader.databaseUrl());
  await query(url.href, 'CREATE DATABASE own');
  url.pathname = '/own';
  reader.setVariables({ DATABASE_URL: url.href });
}

async function query(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

function textOf(step: Step): string {
  return step.kind === 'command' ? step.line : step.text;
}

function sectionsToFollow(page: string): Section[] {
  return sectionsOf(page)
    .map(({ title, steps }) => ({ title, steps: steps.filter((step) => !isLeftOut(page, step)) }))
    .filter(({ steps }) => steps.length > 0);
}

function allSteps(page: string): Step[] {
  return sectionsOf(page).flatMap(({ steps }) => steps);
}

function isLeftOut(page: string, step: Step): boolean {
  return leftOut.some((left) => left.page === page && textOf(step).startsWith(left.step));
}

/** The programs of other toolchains that the commands start. A machine may lack these. */
function programsOf(steps: readonly Step[]): Set<string> {
  const commands = steps.flatMap((step) => (step.kind === 'command' ? step.line.split('&&') : []));
  const started = commands.map((command) => command.trim().split(' ', 1)[0] ?? '');
  // The README installs grpcurl with go.
  const programs = started.map((program) => (program === 'grpcurl' ? 'go' : program));
  return new Set(programs.filter((program) => /^(?:curl|go|java|mvn|python3)$/.test(program)));
}

function isInstalled(program: string): boolean {
  const test = program === 'python3' ? 'python3 -c "import ensurepip, venv"' : `command -v ${program}`;
  return spawnSync('bash', ['-c', test]).status === 0;
}

function needsTsx(step: Step): boolean {
  return step.kind === 'command' && step.line.startsWith('npx tsx');
}
