/** Runs the Python clients against the Roster at ROSTER_ADDRESS. Exits with 75 if Python is missing. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const cwd = import.meta.dirname;
const repository = process.env.ROSTER_REPO;
// Imported from the repository, because this folder may be a copy.
const checks = pathToFileURL(path.join(repository, 'examples/clients/checks.mjs'));
const { checkClient, start } = await import(checks.href);

const python = path.join(cwd, '.venv/bin/python');
const proto = path.join(repository, 'proto');
const protos = ['users/v1/user.proto', 'users/v1/user_service.proto', 'profileservice/profile.proto'];

const version = await start(['python3', '-c', 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))'], {
  cwd,
}).catch(() => ({ code: 1 }));
if (version.code !== 0) {
  console.log('python3 3.10 or later with venv is missing');
  process.exit(75);
}
for (const command of [
  ['python3', '-m', 'venv', '.venv'],
  [python, '-m', 'pip', 'install', '--quiet', '-e', '.[stubs]'],
  [python, '-m', 'grpc_tools.protoc', '-I', proto, '--python_out=.', '--pyi_out=.', '--grpc_python_out=.', ...protos],
]) {
  const { code, output } = await start(command, { cwd });
  assert.equal(code, 0, output);
}
await checkClient([python, 'day.py'], cwd);

// In the first run the email may be new. In the second run it is always taken.
const { ROSTER_TOKEN } = process.env;
const { code, output } = await start([python, 'first_contract.py'], { cwd, env: { ROSTER_TOKEN } });
assert.equal(code, 0, output);
assert.match(output, /^(?:200 profile created|400 .*) *\n400 Invalid Request not enough credentials \S.*\n$/);
console.log(output.trimEnd());
