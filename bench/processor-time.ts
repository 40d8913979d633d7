/**
 * How much processor time processes have used. Linux only: elsewhere, and for processes of another machine, NaN.
 *
 * Time of children counts too, also of those that have ended.
 */
import { readdir, readFile } from 'node:fs/promises';
import type pg from 'pg';

// Linux gives all times that programs see in hundredths of a second, whatever the kernel's own clock.
const ticksPerSecond = 100;

/** Of a process, its children and those of its children that have ended, in seconds. */
export async function processorSeconds(pid: number): Promise<number> {
  const root = await statOf(pid);
  if (root === undefined) return Number.NaN;
  let ticks = root.ticks + root.ticksOfEnded;
  for (const name of await readdir('/proc')) {
    const stat = /^\d+$/.test(name) ? await statOf(Number(name)) : undefined;
    if (stat?.parent === pid) ticks += stat.ticks + stat.ticksOfEnded;
  }
  return ticks / ticksPerSecond;
}

/** The process that all of a server's backends are children of. NaN where it is on another machine. */
export async function postmasterOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query('select pg_backend_pid() as pid');
  return (await statOf(rows[0].pid))?.parent ?? Number.NaN;
}

interface Stat {
  parent: number;
  ticks: number;
  ticksOfEnded: number;
}

/** See proc_pid_stat(5). */
async function statOf(pid: number): Promise<Stat | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  // The second field is a name that may hold anything.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const at = (number: number) => Number(fields[number - 3]);
  return { parent: at(4), ticks: at(14) + at(15), ticksOfEnded: at(16) + at(17) };
}
