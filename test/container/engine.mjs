/**
 * Finds a container engine with the two base images, or starts one. Where no registry can be reached, the script
 * ../shared/standin-images.sh next to the clone (or the one that STANDIN_IMAGES names) builds images in place of them.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const standin = process.env.STANDIN_IMAGES ?? resolve(root, '../shared/standin-images.sh');
const images = [process.env.NODE_IMAGE ?? 'node:24-slim', process.env.POSTGRES_IMAGE ?? 'postgres:18'];

/** Why the check cannot run on this machine. */
export class Skipped extends Error {}

const succeeds = (command, ...args) => spawnSync(command, args, { timeout: 120_000 }).status === 0;
const hasImage = (image) => succeeds('docker', 'image', 'inspect', image) || succeeds('docker', 'pull', '-q', image);
const hasCompose = () => succeeds('docker', 'compose', 'version') || succeeds('docker-compose', 'version');

/** Returns a function that stops the engine if this started it. */
export function findEngine() {
  if (succeeds('docker', 'info') && hasCompose() && images.every(hasImage)) return () => {};
  if (!existsSync(standin))
    throw new Skipped('no container engine can be reached, or it cannot pull node and postgres');
  if (process.getuid() !== 0) throw new Skipped('only root can start a container engine');
  return startStandin();
}

function startStandin() {
  process.env.STANDIN ??= '/tmp/roster-standin';
  const folder = process.env.STANDIN;
  const run = (command) => {
    const { status, stdout, stderr } = spawnSync('bash', [standin, command], { encoding: 'utf8', timeout: 900_000 });
    const lines = `${stdout}${stderr}`.trim().split('\n');
    return { isDone: status === 0, lastLine: lines.at(-1) };
  };
  const isRunning = existsSync(join(folder, 'docker.pid'));
  const stop = () => isRunning || run('stop');
  try {
    for (const command of ['packages', 'engine', 'images']) {
      const { isDone, lastLine } = run(command);
      if (!isDone) throw new Skipped(`cannot prepare a container engine (${command}): ${lastLine}`);
    }
  } catch (error) {
    stop();
    throw error;
  }
  process.env.DOCKER_HOST = `unix://${folder}/docker.sock`;
  return stop;
}
