/** The rules of the source tree that a compiler does not check: imports, environment, names and file headers. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');
/** The table in docs/architecture.md: the places that each place may import, apart from itself. */
const mayImport = new Map<string, readonly string[]>();
for (const row of readFileSync(path.join(root, 'docs/architecture.md'), 'utf8').matchAll(
  /^\| \[([\w./-]+?)\/?\]\([^)]*\) \|[^|]*\|([^|]*)\|$/gm,
)) {
  const [, place = '', column = ''] = row;
  mayImport.set(
    place,
    column
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
  );
}

const files = ['src', 'migrations', 'web'].flatMap((folder) =>
  readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name) && name !== 'vite.config.ts')
    .map((name) => path.posix.join(folder, name.replaceAll(path.sep, '/'))),
);
const sources = new Map(files.map((file) => [file, readFileSync(path.join(root, file), 'utf8')]));

/** The row of the table that a file is in: `src/store`, `src/app.ts`, `web/list`, `web`, `migrations`, `generated`. */
function placeOf(file: string): string {
  const [first = '', second = '', third] = file.split('/');
  const hasOwnRow = first === 'src' || (first === 'web' && third !== undefined);
  return hasOwnRow ? `${first}/${second}` : first;
}

/** The name in the table's last column: `store`, `app`, `generated`. */
function nameOf(place: string): string {
  return path.posix.basename(place, '.ts');
}

/** The names after `from`, only of statements that begin a line so that comments do not count, and in `import(…)`. */
function importsOf(source: string): string[] {
  const statements = source.matchAll(
    /^(?:import|export)\b(?:[^'"`;]*?\bfrom)?\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm,
  );
  return [...statements].map(([, fromStatement, fromCall]) => fromStatement ?? fromCall ?? '');
}

/** The files of the repository that a file imports. */
function neighboursOf(file: string, source: string): string[] {
  return importsOf(source)
    .filter((name) => name.startsWith('.'))
    .map((name) => path.posix.join(path.posix.dirname(file), name).replace(/\.js$/, '.ts'))
    .map((name) => (sources.has(name) ? name : name.replace(/\.ts$/, '.tsx')))
    .filter((name) => !name.endsWith('.css'));
}

/** The files that break a rule. */
function breaches(rule: (file: string, source: string) => boolean): string[] {
  return [...sources].filter(([file, source]) => !rule(file, source)).map(([file]) => file);
}

describe('the tree', () => {
  it('has code in the places that these tests check', () => {
    expect(files.length).toBeGreaterThan(10);
    expect(mayImport.get('src/operations')).toEqual([
      'model',
      'concurrency',
      'database',
      'store',
      'telemetry',
      'fields',
    ]);
    const imports = [...sources.values()].flatMap(importsOf);
    expect(imports).toContain('./fault.js');
    expect(imports).toContain('typeorm');
  });

  it('has only places that the table names', () => {
    expect([...new Set(files.map(placeOf))].filter((place) => !mayImport.has(place))).toEqual([]);
  });

  it('imports only as the table allows', () => {
    const wrong: string[] = [];
    for (const [file, source] of sources) {
      const place = placeOf(file);
      const allowed = mayImport.get(place) ?? [];
      for (const neighbour of neighboursOf(file, source)) {
        const target = placeOf(neighbour);
        if (target === place || allowed.includes(nameOf(target)) || allowed.includes(`all of ${place.split('/')[0]}`))
          continue;
        wrong.push(`${file} → ${neighbour}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('imports across folders by relative paths to existing files', () => {
    const missing = [...sources].flatMap(([file, source]) =>
      neighboursOf(file, source)
        .filter((neighbour) => !sources.has(neighbour) && !neighbour.startsWith('generated/'))
        .map((neighbour) => `${file} → ${neighbour}`),
    );
    expect(missing).toEqual([]);
  });

  it('keeps TypeORM and the Postgres driver in the store, and gRPC out of it', () => {
    const imports = (source: string, pattern: RegExp) => importsOf(source).some((name) => pattern.test(name));
    const inStore = (file: string) =>
      ['src/store', 'src/database', 'src/embedded-postgres', 'migrations'].includes(placeOf(file));
    expect(breaches((file, source) => inStore(file) || !imports(source, /^(?:typeorm|pg)(?:\/|$)/))).toEqual([]);
    const pure = (file: string) =>
      ['src/model', 'src/concurrency', 'src/database', 'src/store', 'src/operations'].includes(placeOf(file));
    expect(breaches((file, source) => !pure(file) || !imports(source, /grpc|protobuf/))).toEqual([]);
  });

  it('keeps the model pure: no clock, files, sockets or promises', () => {
    // The functions of node:url are pure, and so are those of node:net that read addresses.
    const impure = /^node:(?!(?:crypto|url|net)$)/;
    expect(
      breaches((file, source) => placeOf(file) !== 'src/model' || !importsOf(source).some((name) => impure.test(name))),
    ).toEqual([]);
    const waits =
      /\basync\b|\bawait\b|\bPromise\b|Date\.now|new Date\(\)|Math\.random|\bSocket\b|\bconnect\b|\bcreate(?:Connection|Server)\b/;
    expect(breaches((file, source) => placeOf(file) !== 'src/model' || !waits.test(withoutComments(source)))).toEqual(
      [],
    );
  });
});

describe('each file', () => {
  it('opens with a comment that says what it owns', () => {
    expect(breaches((file, source) => placeOf(file) === 'migrations' || /^(?:#!.*\n)?\/\*\*/.test(source))).toEqual([]);
  });

  it('has named exports only', () => {
    expect(breaches((_, source) => !/^export\s+default\b|\bas\s+default\b/m.test(source))).toEqual([]);
  });

  it('re-exports nothing, except the client’s index', () => {
    expect(
      breaches((file, source) => file === 'src/client/index.ts' || !/^export\s[^;=]*\bfrom\s+'/m.test(source)),
    ).toEqual([]);
  });

  it('is named in kebab-case, and for its content', () => {
    const names = files.filter((file) => !/^(?:[a-z0-9-]+\/)+[a-z0-9]+(?:-[a-z0-9]+)*\.tsx?$/.test(file));
    expect(names).toEqual([]);
    const forKind = /\.(?:service|dto|module)\.ts$|\b(?:utils?|helpers?|common|misc)\b/;
    expect(files.filter((file) => forKind.test(file))).toEqual([]);
  });

  it('leaves the environment to main.ts, which passes it on', () => {
    // TypeORM's command line loads the second one, without main.ts.
    const readers = ['src/main.ts', 'src/database/data-source.ts'];
    const readsEnvironment = (source: string) => /\bprocess\s*\.\s*env\b/.test(withoutComments(source));
    expect(breaches((file, source) => readers.includes(file) || !readsEnvironment(source))).toEqual([]);
  });
});

function withoutComments(source: string): string {
  return source.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
}
